"""DeepSpeed in a recipe: its keys, its file, what is refused, and what becomes of it without a GPU."""

import json
from pathlib import Path

import pytest

from components.core.errors import ConfigError
from components.core.recipe import TrainingConfig, load_recipe, without_needless_deepspeed
from components.core.recipe.deepspeed import deepspeed_configuration, default_configuration, zero_stage
from components.core.training import hardware
from components.core.training.arguments import without_sizes

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "llm-pipelines" / "recipes" / "models"
ON = "training.apply_deepspeed=true"
PHI = "model.model_id=Phi-3-mini"


def load(*overrides):
    return load_recipe(None, overrides, MODELS)


def write(folder, **zero):
    path = folder / "ds.json"
    path.write_text(json.dumps({"zero_optimization": zero, "train_micro_batch_size_per_gpu": "auto"}))
    return path


def test_the_product_brings_a_configuration_for_each_stage():
    assert deepspeed_configuration(TrainingConfig()) is None
    for stage in (2, 3):
        training = load(ON, f"training.deepspeed_stage={stage}").recipe.training
        assert deepspeed_configuration(training) == default_configuration(stage)
        assert zero_stage(training) == stage
        # a pipeline hands integers over as floats, and nothing as ""
        handed = {**training.model_dump(exclude_none=True), "deepspeed_stage": float(stage), "deepspeed": ""}
        assert TrainingConfig.model_validate(handed) == training


def test_a_file_travels_as_its_content(tmp_path):
    path = write(tmp_path, stage=3, stage3_gather_16bit_weights_on_model_save=True)
    training = load(ON, f"training.deepspeed={path}").recipe.training
    assert json.loads(training.deepspeed) == json.loads(path.read_text())
    assert zero_stage(training) == 3
    assert load(f"training.deepspeed={path}").recipe.training.deepspeed == str(path)
    inline = load(ON, f"training.deepspeed={path.read_text()}").recipe.training
    assert inline.deepspeed == training.deepspeed


@pytest.mark.parametrize(
    ("zero", "message"),
    [
        ({"stage": "2"}, r'zero_optimization.stage is "2", not an integer'),
        ({}, "zero_optimization.stage is null, not an integer"),
        ({"stage": 3}, "ZeRO-3 with stage3_gather_16bit_weights_on_model_save=null saves a part of the weights only"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused_before_anything_runs(tmp_path, zero, message):
    with pytest.raises(ConfigError, match=message):
        load(ON, f"training.deepspeed={write(tmp_path, **zero)}")


def test_a_missing_file_and_another_stage_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="deepspeed=nowhere.json: cannot be read"):
        load(ON, "training.deepspeed=nowhere.json")
    with pytest.raises(ConfigError, match="training.deepspeed_stage=1"):
        load("training.deepspeed_stage=1")


def test_qlora_is_not_trained_with_deepspeed():
    with pytest.raises(ConfigError, match=r"training.precision=4 \(QLoRA\) is not trained with DeepSpeed"):
        load(ON, "training.precision=4")


@pytest.mark.parametrize(
    ("cuda", "overrides", "why"), [(False, (), "there is no GPU here"), (None, ("gpu.count=0",), "gpu.count=0")]
)
def test_what_only_the_model_asks_for_is_left_out_without_a_gpu_and_said(cuda, overrides, why):
    asked = load(PHI, *overrides)
    assert asked.recipe.training.apply_deepspeed
    found = without_needless_deepspeed(asked, cuda)
    assert not found.recipe.training.apply_deepspeed
    assert f"training.apply_deepspeed = False  ({why})" in list(found.lines())
    assert found.warnings == (
        f"apply_deepspeed=True (model microsoft/Phi-3-mini-4k-instruct) is left out, because {why}: what is trained is "
        "the same without it. Set apply_deepspeed=true yourself to train with DeepSpeed on the CPU.",
    )


@pytest.mark.parametrize(
    ("cuda", "overrides"), [(True, (PHI,)), (None, (PHI,)), (False, (PHI, ON)), (False, (ON,)), (False, ())]
)
def test_with_a_gpu_or_by_a_users_own_wish_nothing_changes(cuda, overrides):
    asked = load(*overrides)
    assert without_needless_deepspeed(asked, cuda) is asked


def test_what_a_file_says_of_batch_sizes_is_left_to_the_recipe():
    own = default_configuration(2) | {"train_batch_size": 64, "gradient_accumulation_steps": 8}
    found = without_sizes(own)
    assert not {"train_batch_size", "gradient_accumulation_steps"} & set(found)
    assert found["train_micro_batch_size_per_gpu"] == 1
    assert found["zero_optimization"] == own["zero_optimization"]


def test_on_a_cpu_with_bf16_deepspeed_computes_in_fp32_and_says_so(monkeypatch):
    monkeypatch.setattr(hardware, "cpu_has_bf16", lambda: True)
    plain = hardware.choose_hardware(TrainingConfig(precision="16"), cpu=True)
    assert (plain.precision, plain.notes) == ("bf16", [])
    engine = hardware.choose_hardware(TrainingConfig(precision="16", apply_deepspeed=True), cpu=True)
    assert (engine.precision, engine.notes) == ("fp32", ["DeepSpeed on a CPU was computed in fp32, not in 16 bits."])
