"""The tutorial's command for a cluster: what its pods ask for, and what reaches the fine-tuning in them."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.core.recipe import TrainingConfig
from components.core.recipe.deepspeed import deepspeed_configuration, default_configuration

ROOT = Path(__file__).resolve().parents[2]
NAME = "Phi-3-mini-4k-instruct"
MODEL = "model microsoft/Phi-3-mini-4k-instruct"
DEFAULTS = {
    "apply_deepspeed": "True", "deepspeed_stage": "2", "apply_lora": "True", "precision": "16",
    "ignore_mismatched_sizes": "False", "num_train_epochs": "1.0", "per_device_train_batch_size": "1",
    "per_device_eval_batch_size": "1", "gradient_accumulation_steps": "1", "learning_rate": "5e-06",
    "lr_scheduler_type": "'cosine'", "logging_strategy": "'steps'", "logging_steps": "10", "save_total_limit": "1",
}  # fmt: skip
"""What is packaged with the model, as it is printed."""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The command's two outputs: the pipeline with its platform part, and what was printed."""
    target = tmp_path_factory.mktemp("chat") / "chat.yaml"
    files = [f"{split}_file_path=ultrachat_200k_dataset/{split}_sft.jsonl" for split in ("train", "test")]
    command = [sys.executable, "-m", "llm-pipelines.chat-completion-pipeline", "--model", NAME, *files]
    done = subprocess.run([*command, "--compile-only", str(target)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pipeline, platform = yaml.safe_load_all(target.read_text())
    return pipeline, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"], done


def section(compiled, name):
    return compiled[0]["root"]["inputDefinitions"]["parameters"][name]["defaultValue"]


@pytest.mark.parametrize("step", ["finetune-model", "evaluate-model"])
def test_fine_tuning_and_evaluation_run_on_gpu_pods(compiled, step):
    resources = compiled[0]["deploymentSpec"]["executors"][f"exec-{step}"]["container"]["resources"]
    accelerator = resources["accelerator"]
    assert (accelerator["resourceType"], accelerator["resourceCount"]) == ("nvidia.com/gpu", "1")
    assert resources["resourceMemoryLimit"] == "16Gi"
    platform = compiled[1][f"exec-{step}"]
    assert platform["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    shm = platform["emptyDirMounts"][0]
    assert (shm["mountPath"], shm["medium"], shm["sizeLimit"]) == ("/dev/shm", "Memory", "5Gi")


@pytest.mark.parametrize("step", ["fetch-dataset", "tokenize-dataset"])
def test_the_steps_before_do_not(compiled, step):
    resources = compiled[0]["deploymentSpec"]["executors"][f"exec-{step}"]["container"]["resources"]
    assert "accelerator" not in resources
    assert "tolerations" not in compiled[1][f"exec-{step}"]


def test_deepspeed_stage_2_arrives_in_the_fine_tune_step(compiled):
    inputs = compiled[0]["root"]["dag"]["tasks"]["finetune-model"]["inputs"]["parameters"]
    assert inputs["training"] == {"componentInputParameter": "training"}
    # a pipeline hands numbers over as floats
    handed = {
        key: float(value) if type(value) is int else value for key, value in section(compiled, "training").items()
    }
    training = TrainingConfig.model_validate(handed)
    assert (training.apply_deepspeed, training.deepspeed_stage, training.method) == (True, 2, "lora")
    assert deepspeed_configuration(training) == default_configuration(2)
    assert (training.precision, training.learning_rate, training.lr_scheduler_type) == ("16", 5e-6, "cosine")
    assert (training.num_train_epochs, training.per_device_train_batch_size) == (1, 1)
    assert (training.gradient_accumulation_steps, training.logging_steps, training.save_total_limit) == (1, 10, 1)


def test_every_default_of_the_model_is_printed_with_its_origin(compiled):
    lines = [line.strip().partition("  -> ")[0] for line in compiled[2].stdout.splitlines()]
    for name, value in DEFAULTS.items():
        assert f"{name} = {value}  ({MODEL})" in lines
    others = {line.partition(" = ")[0] for line in lines if line.endswith(f"({MODEL})")} - set(DEFAULTS)
    assert others == {"model.revision", "lora.target_modules", "registry.license", "resources.memory"}
    assert "Not used by this training" not in compiled[2].stdout
    assert compiled[2].stderr == ""


def test_names_and_files(compiled):
    assert f"Experiment    chat_completion_{NAME}" in compiled[2].stdout
    shown = f"{NAME}-ultrachat-bs1-cosine-ds2-lora-save_limit-1-seqlen-1"
    assert compiled[0]["pipelineInfo"]["displayName"] == shown
    assert section(compiled, "data")["test_file"] == "ultrachat_200k_dataset/test_sft.jsonl"
    assert section(compiled, "task")["name"] == "chat_completion"
