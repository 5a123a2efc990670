"""The command that trains a task: parameters refused before anything runs, and what its pods ask for."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.core.catalogue.loading import load_parameters
from components.core.catalogue.task_names import CORE_TASKS
from components.core.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
STARTER = ["train_file=starter"]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llm-pipelines.task-pipeline", *arguments], cwd=ROOT, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("task", "overrides", "said"),
    [
        ("nerr", STARTER, "Did you mean ner"),
        ("ner", [*STARTER, "learning_rat=1"], "unknown parameter learning_rat. Did you mean learning_rate"),
        ("ner", [*STARTER, "optim=sgd"], "optim='sgd': must be 'adamw_torch' or 'adafactor'"),
        ("ner", [*STARTER, "learning_rate=0"], "learning_rate=0"),
        ("ner", [*STARTER, "metric_for_best_model=mcc"], "metric_for_best_model='mcc'"),
        ("ner", ["train_file=x.jsonl"], "token_key: is missing"),
        ("regression", [*STARTER, "metric=accuracy"], "metric='accuracy'"),
        ("ner", [*STARTER, "apply_ort=true", "apply_lora=true", "merge_lora_weights=false"], "merge"),
        ("ner", [*STARTER, "registered_model_name=a_b"], "registered_model_name='a_b'"),
        ("ner", [*STARTER, "endpoint_name=Not_A_Name"], "endpoint_name"),
        ("ner", [*STARTER, "num_nodes_finetune=2"], "num_nodes_finetune=2: a model with a head trains on one machine"),
        ("ner", ["learning_rate"], "cannot read 'learning_rate'"),
    ],
)
def test_what_is_wrong_is_refused_by_name(task, overrides, said):
    with pytest.raises(ConfigError, match=said):
        load_parameters(task, None, overrides)


def test_a_file_gives_values_and_the_command_line_wins(tmp_path):
    file = tmp_path / "ner.yaml"
    file.write_text("learning_rate: 0.001\ntrain_file: starter\nlora_r: 4\n", encoding="utf-8")
    loaded = load_parameters("ner", file, ["lora_r=16"])
    values = loaded.values()["finetune"]
    assert (values["learning_rate"], values["lora_r"]) == (1e-3, 16)
    assert (loaded.origins["learning_rate"], loaded.origins["lora_r"]) == ("file ner.yaml", "command line")


@pytest.mark.parametrize("task", CORE_TASKS)
def test_the_graph_compiles_with_a_gpu_pod_and_without_a_secret(task, tmp_path):
    path = tmp_path / "pipeline.yaml"
    done = command(task, "number_of_gpu_to_use_finetuning=2", "--compile-only", str(path))
    assert done.returncode == 0, done.stderr
    pipeline, platform = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    containers = pipeline["deploymentSpec"]["executors"]
    kebab = task.replace("_", "-")
    assert containers[f"exec-finetune-{kebab}"]["container"]["resources"]["accelerator"]["resourceCount"] == "2"
    shm = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"][f"exec-finetune-{kebab}"]["emptyDirMounts"]
    assert (shm[0]["mountPath"], shm[0]["sizeLimit"]) == ("/dev/shm", "5Gi")
    assert "accelerator" not in containers[f"exec-preprocess-{kebab}"]["container"].get("resources", {})


def test_a_wrong_value_is_one_line_and_exit_code_2():
    done = command("ner", "precision=7")
    assert done.returncode == 2
    assert done.stderr.startswith("error: precision=")
    assert "Traceback" not in done.stderr
