"""The loop's recipe: the tools' sections beside the retraining's, each value with its origin, wrong ones refused."""

from pathlib import Path

import pytest
from support.loop_rows import write_reference

from components.core.data import prepare_dataset
from components.core.errors import ConfigError
from components.core.loop import ReferenceConfig
from components.core.loop.growing import merge_round
from components.core.loop.recipe import _TOOLS, GIVEN, check_service, load_loop
from components.core.loop.reference import reference_version, resolve, work_name
from components.core.recipe import DataConfig, ModelConfig
from components.core.settings import Settings

RECIPES = Path(__file__).resolve().parents[2] / "llm-pipelines" / "recipes"
MODELS, SHIPPED = RECIPES / "models", sorted((RECIPES / "loops").glob("*.yaml"))
SERVICE = ["judge.provider=openai", "judge.model=big", "judge.base_url=http://127.0.0.1:1/v1"]


def test_every_key_that_the_loop_sets_is_one_of_its_section():
    kinds = {**_TOOLS, "data": DataConfig}
    for section, keys in GIVEN.items():
        assert keys.keys() <= kinds[section].model_fields.keys()
        for other in filter(None, keys.values()):
            name, _, key = other.partition(".")
            assert key in (kinds | {"reference": ReferenceConfig, "model": ModelConfig})[name].model_fields


def test_values_have_their_origin_and_the_loops_own_keys_are_not_shown(tmp_path):
    file = tmp_path / "my.yaml"
    file.write_text("reference:\n  dataset_id: acme/rows\nloop:\n  max_rounds: 2\ntraining:\n  learning_rate: 1e-3\n")
    lines = list(load_loop(file, [*SERVICE, "loop.patience=3"]).lines())
    assert "loop.max_rounds = 2  (recipe my.yaml)" in lines
    assert "loop.patience = 3  (command line)" in lines
    assert "loop.min_gain = 0.0  (default)" in lines
    assert "training.learning_rate = 0.001  (recipe my.yaml)" in lines
    assert "gate.metric = 'loss'  (loop)" in lines
    assert "data_gen.base_url = 'http://127.0.0.1:1/v1'  (judge)" in lines
    assert not [line for line in lines if line.startswith(("data.dataset_id", "judge.lm_response_ds_id"))]


def test_a_generator_of_its_own_is_not_the_judges():
    loop = load_loop(None, [*SERVICE, "data_gen.provider=anthropic", "data_gen.model=writer"])
    assert (loop.data_gen["provider"], loop.data_gen["base_url"]) == ("anthropic", None)


def test_the_retraining_reads_the_reference_rows():
    recipe = load_loop(None, [*SERVICE, "reference.dataset_id=acme/rows", "reference.test_split=held_out"]).recipe
    assert (recipe.data.dataset_id, recipe.data.test_split, recipe.task.name) == (
        "acme/rows",
        "held_out",
        "chat_completion",
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "data.dataset_id=x",
            r"data.dataset_id \(command line\) is the loop's to set. Set reference.dataset_id instead.",
        ),
        ("inference.ft_model_id=x", r"inference.ft_model_id \(command line\) is the loop's to set. Set model.model_id"),
        ("judge.resume=false", r"judge.resume \(command line\) is the loop's to set. Remove it."),
        ("loop.max_round=2", r"unknown key loop.max_round \(command line\). Did you mean loop.max_rounds?"),
        ("loops.max_rounds=2", r"unknown section loops. Did you mean loop\?"),
        ("training.learn_rate=2", r"unknown key training.learn_rate .*Did you mean training.learning_rate?"),
        ("loop.max_rounds=-1", r"loop.max_rounds='-1' \(command line\): Input should be greater"),
        ("task.name=context_qa", r"task.name=context_qa: a loop trains conversations only"),
        ("loop.max_usd=5", r"loop.max_usd=5 needs the service LLM's prices. Set judge.price_per_million_input"),
    ],
)
def test_what_cannot_be_is_refused_by_name(override, message):
    with pytest.raises(ConfigError, match=message):
        load_loop(None, [*SERVICE, override])


def test_a_service_without_a_key_says_what_to_set(monkeypatch):
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=r"judge: gemini/.* Set GEMINI_API_KEY .* judge.base_url=http://"):
        check_service(load_loop(None, []), Settings())
    check_service(load_loop(None, SERVICE), Settings())


def test_sections_hold_no_null_which_a_pipeline_does_not_know():
    def nulls(tree):
        return any(value is None or (isinstance(value, dict) and nulls(value)) for value in tree.values())

    assert not nulls(load_loop(None, SERVICE).sections())


def test_the_embedded_conversations_are_found_where_the_step_runs(tmp_path):
    reference = load_loop(None, SERVICE).reference
    found = resolve(reference)
    assert (found.train_split, found.test_split) == ("train", "test")
    assert found.dataset_id.endswith("chat_completion")
    assert reference_version(reference, Settings(whetstone_home=tmp_path)).startswith("sha256:")


def test_work_has_the_same_name_for_the_same_inputs_only():
    names = {work_name("judged", number, {"a": value}) for number in (0, 1) for value in (1, 2, 1)}
    assert len(names) == 4


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_every_shipped_recipe_of_a_loop_is_accepted(file):
    loop = load_loop(file, [], MODELS)
    assert loop.recipe.training.precision == "4"
    assert loop.data_gen["price_per_million_output"] == loop.judge["price_per_million_output"] > 0


def test_there_is_a_shipped_recipe():
    assert SHIPPED


@pytest.mark.parametrize("dataset", ["starter", "own"])
def test_the_retraining_finds_the_merged_rows_of_any_reference(dataset, tmp_path):
    name = "starter" if dataset == "starter" else str(write_reference(tmp_path / "own", 30, 10))
    loop = load_loop(None, [*SERVICE, f"reference.dataset_id={name}"])
    settings, new = Settings(whetstone_home=tmp_path / "home"), write_reference(tmp_path / "new", 12, 0, seed=1)
    split = loop.recipe.data.train_split
    (new / "train_sft.jsonl").rename(new / f"{split}.jsonl")
    merged = merge_round(loop.reference, new, None, tmp_path / "merged", settings)
    data = loop.recipe.data.model_copy(update={"dataset_id": str(tmp_path / "merged"), "max_rows": 100})
    prepared = prepare_dataset(data, loop.recipe.task, tmp_path / "prepared", settings)
    assert merged.rows == (1200 if dataset == "starter" else 30) + 12
    assert prepared.rows["test"] == (100 if dataset == "starter" else 10)
    assert prepared.rows["train"] > 30
