"""The compiled pipeline: what its pods ask for, and what it must not hold."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.core.settings import TrainingNodes

ROOT = Path(__file__).resolve().parents[2]
CANARY = "hf_CanaryTokenThatMustNeverBeWritten"


def compile_pipeline(target, *arguments, **environment):
    command = [sys.executable, "-X", "importtime", "-m", "llm-pipelines.fine-tune-pipeline"]
    found = subprocess.run(
        [*command, "--compile-only", str(target), *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    spec, platform = yaml.safe_load_all(target.read_text())
    return spec, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"], found


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    return compile_pipeline(
        tmp_path_factory.mktemp("compiled") / "pipeline.yaml",
        "gpu.product=NVIDIA-L4",
        "gpu.count=2",
        HF_TOKEN=CANARY,
        HF_REPO="acme/canary-repo",
        PIPELINE_IMAGE="registry.example/whetstone-python:7",
    )


def container(compiled, step):
    return compiled[0]["deploymentSpec"]["executors"][f"exec-{step}"]["container"]


def task(compiled, step):
    return compiled[0]["root"]["dag"]["tasks"][step]


def test_fine_tuning_gets_a_gpu_pod(compiled):
    resources = container(compiled, "finetune-model")["resources"]
    assert resources["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert int(resources["accelerator"]["resourceCount"]) == 2
    platform = compiled[1]["exec-finetune-model"]
    assert platform["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert platform["nodeSelector"]["labels"] == {"nvidia.com/gpu.product": "NVIDIA-L4"}
    shm = platform["emptyDirMounts"][0]
    assert (shm["mountPath"], shm["medium"], shm["sizeLimit"]) == ("/dev/shm", "Memory", "5Gi")


def test_checkpoints_live_on_a_volume_and_a_failed_try_is_repeated(compiled):
    mount = compiled[1]["exec-finetune-model"]["pvcMount"][0]
    assert mount["pvcNameParameter"]["runtimeValue"]["constant"] == "whetstone-checkpoints"
    assert mount["mountPath"] == "/checkpoints"
    assert {"name": "CHECKPOINT_DIR", "value": "/checkpoints"} in container(compiled, "finetune-model")["env"]
    assert task(compiled, "finetune-model")["retryPolicy"]["maxRetryCount"] == 2


def test_the_checkpoint_volume_of_the_manifests_is_the_one_of_the_recipe():
    volume = yaml.safe_load((ROOT / "manifests" / "pipeline" / "checkpoint-volume.yaml").read_text())
    from components.core.recipe import Recipe

    assert volume["metadata"]["name"] == Recipe().resources.checkpoint_volume


@pytest.mark.parametrize("step", ["fetch-dataset", "tokenize-dataset", "upload-model"])
def test_the_other_steps_need_no_gpu(compiled, step):
    assert "accelerator" not in container(compiled, step)["resources"]
    assert "tolerations" not in compiled[1][f"exec-{step}"]


def test_secrets_are_references_and_no_value_is_written(compiled, tmp_path):
    assert compiled[1]["exec-upload-model"]["secretAsEnv"][0]["secretName"] == "huggingface-secret"
    text = yaml.safe_dump([compiled[0], compiled[1]])
    assert CANARY not in text
    assert "canary-repo" not in text
    assert CANARY not in compiled[2].stdout + compiled[2].stderr


def test_compiling_needs_no_torch_and_no_training_library(compiled):
    imported = {line.split("|")[-1].strip().split(".")[0] for line in compiled[2].stderr.splitlines() if "|" in line}
    assert "kfp" in imported
    assert not imported & {"torch", "transformers", "peft", "datasets", "mlflow", "pandas", "numpy"}


def test_all_steps_use_the_one_image_setting_and_install_nothing(compiled):
    executors = compiled[0]["deploymentSpec"]["executors"].values()
    assert {executor["container"]["image"] for executor in executors} == {"registry.example/whetstone-python:7"}
    assert "pip install" not in yaml.safe_dump(compiled[0])


def test_steps_are_cached(compiled):
    for step in ("fetch-dataset", "tokenize-dataset", "finetune-model", "evaluate-model"):
        assert task(compiled, step)["cachingOptions"] == {"enableCache": True}


def test_nothing_is_uploaded_unless_the_gate_passes(compiled):
    branches = compiled[0]["components"]["comp-condition-branches-1"]["dag"]["tasks"]
    passed = branches["condition-2"]["triggerPolicy"]["condition"]
    assert "== 'passed'" in passed
    assert "upload-model" in compiled[0]["components"]["comp-condition-2"]["dag"]["tasks"]
    assert "upload-model" not in compiled[0]["components"]["comp-condition-3"]["dag"]["tasks"]


def test_a_section_reaches_only_the_steps_that_use_it(compiled):
    inputs = {step: set(task(compiled, step)["inputs"]["parameters"]) for step in ("fetch-dataset", "tokenize-dataset")}
    assert inputs["fetch-dataset"] == {"task", "data", "source_version"}
    assert inputs["tokenize-dataset"] == {"task", "model", "tokens"}


def test_several_gpus_on_one_node_are_limits_of_the_fine_tuning_pod(tmp_path):
    spec, executors, _ = compile_pipeline(tmp_path / "one-node.yaml", "gpu.count=4")
    found = spec["deploymentSpec"]["executors"]["exec-finetune-model"]["container"]
    assert int(found["resources"]["accelerator"]["resourceCount"]) == 4
    assert executors["exec-finetune-model"]["emptyDirMounts"][0]["mountPath"] == "/dev/shm"
    assert "TRAINING_NODES" not in {entry["name"] for entry in found["env"]}


def test_pods_with_a_gpu_get_the_image_with_cuda_and_the_others_do_not(tmp_path):
    named = {"PIPELINE_IMAGE": "", "REGISTRY": "registry.example", "TAG": "7"}
    for count, expected in (("1", "-cuda"), ("0", "")):
        spec, _, _ = compile_pipeline(tmp_path / f"{count}.yaml", f"gpu.count={count}", **named)
        images = {
            n: e["container"]["image"] for n, e in spec["deploymentSpec"]["executors"].items() if "container" in e
        }
        plain = "registry.example/whetstone-pipeline-python:7"
        assert images["exec-finetune-model"] == images["exec-evaluate-model"] == plain + expected
        assert images["exec-fetch-dataset"] == images["exec-upload-model"] == plain


def test_several_nodes_make_fine_tuning_a_small_pod_that_knows_what_its_trainjob_asks_for(tmp_path):
    spec, executors, _ = compile_pipeline(
        tmp_path / "nodes.yaml", "gpu.num_nodes=2", "gpu.count=4", "gpu.product=NVIDIA-L4",
        PIPELINE_IMAGE="registry.example/whetstone-python:7", HF_TOKEN=CANARY,
    )  # fmt: skip
    steps = spec["deploymentSpec"]["executors"]
    found = steps["exec-finetune-model"]["container"]
    assert "accelerator" not in found["resources"]
    platform = executors["exec-finetune-model"]
    assert not {"tolerations", "nodeSelector", "emptyDirMounts"} & set(platform)
    assert platform["pvcMount"][0]["mountPath"] == "/checkpoints"
    environment = {entry["name"]: entry["value"] for entry in found["env"]}
    assert environment["CHECKPOINT_DIR"] == "/checkpoints"
    nodes = TrainingNodes.model_validate_json(environment["TRAINING_NODES"])
    assert nodes.image == "registry.example/whetstone-python:7"
    assert (nodes.gpu.num_nodes, nodes.gpu.count, nodes.gpu.product) == (2, 4, "NVIDIA-L4")
    assert nodes.resources.checkpoint_volume == "whetstone-checkpoints"
    assert CANARY not in environment["TRAINING_NODES"]
    # evaluation is one process on one GPU
    assert int(steps["exec-evaluate-model"]["container"]["resources"]["accelerator"]["resourceCount"]) == 1
    task = spec["root"]["dag"]["tasks"]["finetune-model"]
    assert task["retryPolicy"]["maxRetryCount"] == 2
    # what the cache looks at says nothing of machines
    assert set(task["inputs"]["parameters"]) == {"task", "model", "training", "lora"}


def test_several_nodes_without_a_volume_are_refused():
    command = [sys.executable, "-m", "llm-pipelines.fine-tune-pipeline", "gpu.num_nodes=2"]
    found = subprocess.run(
        [*command, "--dry-run", "resources.checkpoint_volume=null"], cwd=ROOT, capture_output=True, text=True
    )
    assert found.returncode == 2
    assert "gpu.num_nodes=2 needs a volume that all nodes mount (ReadWriteMany)" in found.stderr


def test_gpu_count_zero_compiles_a_cpu_run_without_a_volume_when_none_is_named(tmp_path):
    spec, executors, _ = compile_pipeline(
        tmp_path / "cpu.yaml", "gpu.count=0", "resources.checkpoint_volume=null", "resources.retries=0"
    )
    resources = spec["deploymentSpec"]["executors"]["exec-finetune-model"]["container"]["resources"]
    assert "accelerator" not in resources
    assert not {"tolerations", "emptyDirMounts", "pvcMount"} & set(executors["exec-finetune-model"])
    assert "retryPolicy" not in spec["root"]["dag"]["tasks"]["finetune-model"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["training.lr=1"], "unknown key training.lr"),
        (["--dry-run", "task.name=ner"], "task.name=ner generates no text"),
        (["--compile-only", "pipeline.txt"], "the name must end in .yaml"),
        (["--recipe", "no-such.yaml"], "cannot read recipe no-such.yaml"),
    ],
)
def test_a_wrong_command_ends_with_one_line_and_exit_2(arguments, message):
    found = subprocess.run(
        [sys.executable, "-m", "llm-pipelines.fine-tune-pipeline", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert found.returncode == 2
    assert message in found.stderr
    assert "Traceback" not in found.stderr


def test_a_dry_run_prints_the_recipe_and_runs_nothing(tmp_path):
    found = subprocess.run(
        [sys.executable, "-m", "llm-pipelines.fine-tune-pipeline", "--dry-run", "training.seed=3"],
        cwd=ROOT,
        env={**os.environ, "WHETSTONE_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0
    assert "training.seed = 3  (command line)" in found.stdout
    assert not (tmp_path / "home").exists()
