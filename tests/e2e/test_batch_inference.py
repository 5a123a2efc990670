"""`batch_inference.py` as a user runs it; a loopback server stands in for the Hub."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydantic import SecretStr
from support.run_output import write_run
from support.tiny_llama import write_tiny_llama

from components.core.recipe import RegistryConfig
from components.core.registry import promote, publish, register
from components.core.registry.model_folder import read_model_folder
from components.core.responses import COLUMNS, BatchInferenceConfig, infer
from components.core.settings import Settings
from components.core.tables import read_rows, write_rows
from components.core.tasks.prompt import messages_prompt, write_prompt

pytestmark = pytest.mark.e2e

SCRIPT = Path(__file__).resolve().parents[2] / "llm-pipelines" / "batch_inference.py"
CHAT = (
    "{% for m in messages %}{{ m['role'] }}:{{ m['content'] }}<turn>{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def conversations(count):
    return [
        {
            "messages": [
                {"role": "user", "content": f"Say {n}. " * (1 + n % 5)},
                {"role": "assistant", "content": str(n)},
            ]
        }
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = write_tiny_llama(tmp_path_factory.mktemp("models") / "tiny", chat_template=CHAT)
    write_prompt(messages_prompt(), folder)
    return folder


def start(folder, *arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "MLFLOW"))}
    environment |= {"WHETSTONE_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments], cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_a_killed_run_goes_on_and_no_row_is_lost_or_there_twice(model, tmp_path):
    write_rows(conversations(30), str(tmp_path / "rows"), "test_sft", Settings())
    (tmp_path / "mine.yaml").write_text(
        f"ft_model_id: {model}\ntest_ds_id: rows\nrepeat: 9\nmax_new_tokens: 40\nlm_response_append: true\n"
    )
    arguments = ["--from-config", "mine.yaml", "--repeat", "4", "--inference_bs", "1"]
    first = start(tmp_path, *arguments)
    ended = time.monotonic() + 90
    known = 0
    while known < 20 and first.poll() is None and time.monotonic() < ended:
        time.sleep(0.02)
        known = sum(path.read_bytes().count(b"\n") for path in (tmp_path / "home").rglob("answers.jsonl"))
    first.send_signal(signal.SIGKILL)
    _, complaint = first.communicate()
    assert first.returncode == -signal.SIGKILL, complaint
    assert not (tmp_path / "home" / "datasets").exists()
    second = start(tmp_path, *arguments)
    said, complaint = second.communicate(timeout=120)
    assert second.returncode == 0, complaint
    settings = Settings(whetstone_home=tmp_path / "home")
    answers = read_rows("lm_responses", "batch_infer", settings)
    assert [answer["target_responses"] for answer in answers] == [str(n) for n in range(30) for _ in range(4)]
    assert "of 120 answers are there from a run that was stopped" in said
    assert int(said.partition(" of 120 answers are there")[0].rpartition("\n")[2]) >= 20
    assert "120 answers of tiny at" in said
    # the answers of a run that nobody killed
    config = BatchInferenceConfig(
        ft_model_id=str(model), test_ds_id=str(tmp_path / "rows"), max_new_tokens=40, lm_response_ds_id="whole"
    )
    infer(config, settings)
    assert read_rows("whole", "batch_infer", settings) == answers


def test_a_mistake_is_one_line_and_leaves_with_2(model, tmp_path):
    (tmp_path / "mine.yaml").write_text("ft_model_id: starter\ntest_ds_id: starter\nrepeet: 2\n")
    found = start(tmp_path, "--from-config", "mine.yaml")
    said, complaint = found.communicate(timeout=60)
    assert (found.returncode, said) == (2, "")
    assert complaint == "error: mine.yaml: unknown key repeet. Did you mean repeat?\n"


def test_from_the_hub_to_the_hub_at_the_revisions_really_loaded(hub, model, tmp_path):
    old = hub.add_folder("model", "acme/tiny", model)
    new = hub.repo("model", "acme/tiny").commit({"README.md": "# Newer"})
    rows = "".join(f"{json.dumps(row)}\n" for row in conversations(3))
    hub.add_repo("dataset", "acme/rows", {"data/test_sft-00000-of-00001.jsonl": rows})
    settings = Settings(hf_endpoint=hub.url, hf_token=SecretStr("hf_write"), whetstone_home=tmp_path / "home")
    config = BatchInferenceConfig(
        ft_model_id="acme/tiny", test_ds_id="acme/rows", repeat=2, max_new_tokens=4,
        push_lm_responses_to_hf_hub=True, lm_response_ds_id="acme/answers",
    )  # fmt: skip
    result = infer(config, settings)
    assert (result.rows, result.model_sha, result.where) == (6, new, f"{hub.url}/datasets/acme/answers")
    pinned = config.model_copy(update={"ft_model_revision": old, "lm_response_append": True, "seed": 1})
    assert infer(pinned, settings).model_sha == old
    answers = read_rows("acme/answers", "batch_infer", settings)
    assert [answer["model_sha"] for answer in answers] == [new] * 6 + [old] * 6
    assert all(tuple(answer) == COLUMNS for answer in answers)
    assert {answer["model_id"] for answer in answers} == {"acme/tiny"}
    assert "hf_write" not in "".join(map(str, answers))


def test_a_registered_model_answers_by_its_name(tmp_path):
    run = write_run(tmp_path / "run", whetstone_home=tmp_path / "home")
    run.registry = RegistryConfig(name="bridges")
    write_tiny_llama(run.model_dir)
    register(publish(*run.inputs(), tmp_path / "out"), *run.inputs())
    promote("bridges", None, run.settings)
    write_rows(conversations(2), str(tmp_path / "rows"), "test_sft", run.settings)
    folder = next((tmp_path / "home" / "registry" / "bridges").iterdir())
    for name in ("bridges", "bridges@champion", "bridges@1"):
        config = BatchInferenceConfig(ft_model_id=name, test_ds_id=str(tmp_path / "rows"), repeat=1, max_new_tokens=4)
        result = infer(config, run.settings)
        assert (result.model_id, result.model_sha) == (name, read_model_folder(folder).manifest.content_sha256)
