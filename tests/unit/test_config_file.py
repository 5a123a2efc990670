import importlib
import re
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from components.core.errors import ConfigError
from components.core.recipe import Section, parse_config


class Asked(Section):
    """A model that is asked."""

    model: str = "small"
    """Which model."""
    price: float | None = None
    """Dollars."""


class Tool(Section):
    """A tool with a key of each kind."""

    source_id: str
    """Where the rows are."""
    repeat: Annotated[int, Field(ge=1)] = 4
    """Answers for each row, 100 % of them."""
    push: bool = False
    """Push to the Hub."""
    limit: int | None = None
    """At most so many rows."""
    how: Literal["short", "long"] = "short"
    """Length of the answers."""
    names: list[str] = []
    """Some names."""
    asked: Asked = Asked()
    """The model."""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tool.yaml"
    path.write_text("source_id: acme/rows\nrepeat: 2\npush: true\nlimit: 7\nasked: {model: large}\n")
    return str(path)


def parse(*argv, **options):
    return parse_config(Tool, argv, **options)


def test_a_flag_wins_over_the_file_and_the_file_over_the_default(file):
    found = parse("--from-config", file, "--repeat", "8", "--asked.price=0.5")
    assert found == Tool(source_id="acme/rows", repeat=8, push=True, limit=7, asked=Asked(model="large", price=0.5))


def test_every_key_is_a_flag_of_the_same_name():
    found = parse("--source_id", "x", "--repeat=1", "--push", "--limit", "3", "--how", "long", "--names", "[a, b]")
    assert found == Tool(source_id="x", repeat=1, push=True, limit=3, how="long", names=["a", "b"])


@pytest.mark.parametrize(
    ("flags", "expected"),
    [(["--push"], True), (["--no-push"], False), (["--push", "true"], True), (["--push=false"], False)],
)
def test_a_boolean_is_a_switch_and_takes_a_value(file, flags, expected):
    assert parse("--from-config", file, *flags).push is expected


def test_none_takes_a_value_of_the_file_away(file):
    assert parse("--from-config", file, "--limit", "none").limit is None


def test_text_in_brackets_stays_text_where_text_is_asked_for():
    assert parse("--source_id", "[: what").source_id == "[: what"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "source_id is missing. Set it by --source_id."),
        (["--source_id", "x", "--repat", "3"], "unknown flag --repat. Did you mean --repeat?"),
        (["--source_id", "x", "--source-name=3"], "unknown flag --source-name. Did you mean --source_id?"),
        (["--source_id", "x", "stray"], "there is a value that belongs to no flag"),
        (["--source_id", "x", "--repeat", "0"], "repeat='0' on the command line: Input should be greater than"),
        (["--source_id", "x", "--how", "tall"], "how='tall' on the command line: Input should be 'short' or 'long'"),
        (["--source_id"], "argument --source_id: expected one argument. .*--help prints every flag"),
        (["--source_id", "x", "--names", "[a"], r"names='\[a' on the command line: Input should be a valid list"),
        (["--from-config", "nothing.yaml"], "cannot read nothing.yaml: No such file.*Check --from-config"),
    ],
)
def test_a_wrong_command_line_is_named(argv, message):
    with pytest.raises(ConfigError, match=message):
        parse(*argv)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source_id: x\nrepeet: 3", "tool.yaml: unknown key repeet. Did you mean repeat?"),
        ("source_id: x\nzzz: 3", "unknown key zzz. The keys are source_id, repeat"),
        ("source_id: x\nasked: {modle: y}", "unknown key asked.modle. Did you mean asked.model?"),
        ("source_id: x\nrepeat: many", "repeat='many' in .*tool.yaml: Input should be a valid integer"),
        ("source_id: [", "tool.yaml, line 1 is not valid YAML"),
        ("- a", "must hold `key: value` lines, not list"),
        ("repeat: 3", "source_id is missing. Set it in .*tool.yaml or by --source_id"),
    ],
)
def test_a_wrong_file_is_named(file, text, message):
    Path(file).write_text(text)
    with pytest.raises(ConfigError, match=message):
        parse("--from-config", file)


def test_a_secret_belongs_into_the_environment_and_is_not_shown(file):
    with pytest.raises(ConfigError, match=r"Set HF_TOKEN instead") as caught:
        parse("--hf_token=hf_hidden", "--from-config", file)
    assert "hidden" not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        parse("--hf_token", "hf_hidden", "--from-config", file)
    assert "hidden" not in str(caught.value)
    Path(file).write_text("source_id: x\nhf_token: hf_hidden")
    with pytest.raises(ConfigError, match="Set HF_TOKEN in the environment") as caught:
        parse("--from-config", file)
    assert "hidden" not in str(caught.value)


def test_a_file_is_also_found_in_the_tools_folder(tmp_path, monkeypatch):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "tool.yaml").write_text("source_id: x")
    monkeypatch.chdir("/")
    assert parse("--from-config", "config/tool.yaml", folder=tmp_path).source_id == "x"


def test_help_says_what_every_key_means(capsys):
    with pytest.raises(SystemExit) as caught:
        parse("--help", program="tool", description="Does it.")
    assert caught.value.code == 0
    said = re.sub(r"\s+", " ", capsys.readouterr().out)
    for words in ("Does it.", "--from-config FILE", "--asked.model VALUE", "100 % of them. (default: 4)", "(required)"):
        assert words in said


KINDS = {
    "batch_inference": ("components.core.responses", "BatchInferenceConfig"),
    "evaluation": ("components.core.judging", "JudgeConfig"),
    "data_gen": ("components.core.synthesis", "DataGenConfig"),
    "dataset_merge": ("components.core.synthesis", "DatasetMergeConfig"),
}
ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "llm-pipelines" / "config").glob("*.yaml"))


@pytest.mark.parametrize("path", [path for path in SHIPPED if path.stem in KINDS], ids=lambda path: path.stem)
def test_every_shipped_file_is_a_configuration_of_its_tool(path):
    room, name = KINDS[path.stem]
    kind = getattr(importlib.import_module(room), name)
    assert isinstance(parse_config(kind, ["--from-config", str(path)]), kind)


def test_every_key_of_batch_inference_stands_in_its_page():
    from components.core.responses import BatchInferenceConfig

    page = (ROOT / "docs" / "batch-inference.md").read_text()
    for key, field in BatchInferenceConfig.model_fields.items():
        row = next(line for line in page.splitlines() if line.startswith("|") and f"`{key}`" in line.split("|")[1])
        default = "required" if field.is_required() else str(field.default).lower()
        assert default in row
