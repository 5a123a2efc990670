from pathlib import Path

import pytest
import yaml

from components.core.errors import ConfigError
from components.core.recipe import Recipe, TrainingConfig, flatten, load_recipe
from components.core.recipe.reference import REFERENCE, reference

RECIPES = Path(__file__).resolve().parents[2] / "llm-pipelines" / "recipes"


@pytest.fixture
def catalogue(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    entry = {"model_id": "acme/small", "model_specific_defaults": {"training": {"learning_rate": 0.01, "max_steps": 7}}}
    (folder / "small.yaml").write_text(yaml.safe_dump(entry))
    return folder


@pytest.fixture
def recipe_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("model: {model_id: acme/small}\ntraining:\n  learning_rate: 3.0e-4\n  seed: 7\n")
    return path


def test_the_command_line_wins_over_recipe_model_and_defaults(catalogue, recipe_file):
    loaded = load_recipe(recipe_file, ["training.seed=9"], catalogue)
    assert loaded.recipe.training.seed == 9
    assert loaded.recipe.training.learning_rate == 3e-4
    assert loaded.recipe.training.max_steps == 7
    assert loaded.recipe.training.method == "lora"


def test_each_printed_value_names_its_origin(catalogue, recipe_file):
    lines = list(load_recipe(recipe_file, ["training.seed=9"], catalogue).lines())
    assert "training.seed = 9  (command line)" in lines
    assert "training.learning_rate = 0.0003  (recipe mine.yaml)" in lines
    assert "training.max_steps = 7  (model acme/small)" in lines
    assert "training.method = 'lora'  (default)" in lines
    assert len(lines) == len(list(flatten(Recipe().model_dump())))


def test_model_defaults_do_not_reach_another_model(catalogue):
    assert load_recipe(None, ["model.model_id=acme/other"], catalogue).recipe.training.max_steps == -1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.learningrate=1", r"unknown key training.learningrate \(command line\). Did you mean training.learn"),
        ("training.lr=1", r"unknown key training.lr .*training has method, num_train_epochs"),
        ("trainin.seed=1", r"unknown key trainin. Did you mean training\?"),
        ("training.learning_rate=-1", r"training.learning_rate='-1' \(command line\): Input should be greater than 0"),
        ("training.num_train_epochs=many", "training.num_train_epochs='many' .*valid number"),
        ("training.method=qlora", "training.method='qlora' .*'lora' or 'full'"),
        ("training.seed", "cannot read 'training.seed'. Write section.key=value"),
        ("seed=3", "cannot read 'seed=3'. Write section.key=value"),
        ("task.prompt_template=Q: {question}", "task.prompt_template=.*must hold {context} exactly once"),
        ("registry.name=a.b", "registry.name='a.b' .*match pattern"),
        ("lora.target_modules=[q_proj", "the value of lora.target_modules is not a valid list"),
        ("model.revision=v1", "model.revision=v1 needs a Hub id"),
        ("evaluation.max_new_tokens=4096", "leaves no room for a prompt"),
    ],
)
def test_a_wrong_override_is_refused_with_its_key(override, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe(None, [override])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training.method=full", "lora.r=4"], "training.method=full has no adapter, yet lora.r is set"),
        (["gpu.count=0", "gpu.product=NVIDIA-L4"], "gpu.count=0 is a CPU run, yet gpu.product=NVIDIA-L4"),
        (["training.method=full", "training.precision=4"], "precision=4 .*QLoRA.*method=full has no adapter"),
        (["gpu.count=0", "training.precision=8"], "precision=8 .QLoRA. needs a CUDA GPU, yet gpu.count=0"),
        (
            ["training.per_device_train_batch_size=2", "training.tokens_per_batch=64"],
            "both set the batch. Remove one of them",
        ),
    ],
)
def test_an_impossible_combination_is_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe(None, overrides)


def test_all_problems_are_shown_at_once():
    with pytest.raises(ConfigError) as caught:
        load_recipe(None, ["training.seed=x", "gpu.count=-1", "data.nothing=1"])
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: [1", r"mine.yaml, line 1 is not valid YAML|mine.yaml, line 2 is not valid YAML"),
        ("- a\n- b\n", "must hold sections"),
        ("training: 3\n", "must hold sections"),
    ],
)
def test_a_broken_recipe_file_is_refused(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_recipe(path, [])


def test_a_missing_recipe_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot read recipe .*none.yaml: No such file"):
        load_recipe(tmp_path / "none.yaml", [])


def test_nested_null_and_list_values_can_be_given_on_the_command_line():
    overrides = ["gate.minimum.f1=0.5", "data.columns.context=passage", "resources.checkpoint_volume=null"]
    recipe = load_recipe(None, [*overrides, "lora.target_modules=[q_proj, v_proj]"]).recipe
    assert recipe.gate.minimum == {"f1": 0.5}
    assert recipe.data.columns == {"context": "passage"}
    assert recipe.resources.checkpoint_volume is None
    assert recipe.lora.target_modules == ["q_proj", "v_proj"]


def test_a_section_survives_a_pipeline_parameter_that_turns_integers_into_floats():
    sent = {
        key: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for key, value in TrainingConfig(seed=7, precision="16").model_dump(exclude_none=True).items()
    }
    received = TrainingConfig.model_validate(sent | {"precision": 16.0})
    assert received == TrainingConfig(seed=7, precision="16")
    assert isinstance(received.seed, int)


@pytest.mark.parametrize(
    ("precision", "bits"), [("auto", None), (32, None), ("16", None), (8, 8), (8.0, 8), ("4", 4), (4, 4), (4.0, 4)]
)
def test_4_and_8_are_bits_of_quantized_weights(precision, bits):
    assert TrainingConfig.model_validate({"precision": precision}).quantized_bits == bits


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_recipe_loads(path):
    assert load_recipe(path, [], RECIPES / "models").recipe


@pytest.mark.parametrize("path", sorted((RECIPES / "models").glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_model_file_gives_defaults_that_the_recipe_knows(path):
    model_id = yaml.safe_load(path.read_text())["model_id"]
    loaded = load_recipe(None, [f"model.model_id={model_id}"], RECIPES / "models")
    assert f"model {model_id}" in loaded.origins.values()


def test_the_recipe_reference_is_current():
    assert REFERENCE.read_text(encoding="utf-8") == reference(), "run `make docs`"
