"""The loop's compiled graph: a round behind each decision, GPU pods, and keys that only the kubelet reads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CANARY = "sk-CanaryKeyThatMustNeverBeWritten"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    target = tmp_path_factory.mktemp("compiled") / "loop.yaml"
    command = [sys.executable, "-X", "importtime", "-m", "llm-pipelines.llmops-loop-pipeline", "loop.max_rounds=2"]
    found = subprocess.run(
        [*command, "--compile-only", str(target), "gpu.product=NVIDIA-L4"],
        cwd=ROOT,
        env={**os.environ, "GEMINI_API_KEY": CANARY, "HF_TOKEN": CANARY},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    spec, platform = yaml.safe_load_all(target.read_text())
    return spec, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"], found, target.read_text()


def test_every_step_of_every_round_is_named_by_it(compiled):
    names = set(compiled[0]["deploymentSpec"]["executors"])
    base = ("infer-responses", "judge-responses", "decide-round")
    trained = ("generate-dataset", "merge-datasets", "fetch-dataset", "tokenize-dataset", "finetune-model", *base)
    ended = ("evaluate-model", "qualify-model", "upload-model", "register-model", "record-refused-run")
    expected = {f"exec-round-0-{name}" for name in (*base, "qualify-model", "record-refused-run")}
    expected |= {f"exec-round-{number}-{name}" for number in (1, 2) for name in (*trained, *ended)}
    assert names == expected


@pytest.mark.parametrize("step", ["round-0-judge-responses", "round-1-generate-dataset", "round-2-judge-responses"])
def test_steps_that_ask_get_the_services_keys_from_a_secret_and_keep_their_journal(compiled, step):
    secrets = {each["secretNameParameter"]["runtimeValue"]["constant"]: each for each in _secrets(compiled, step)}
    keys = {each["envVar"]: each["secretKey"] for each in secrets["service-llm-secret"]["keyToEnv"]}
    assert keys["GEMINI_API_KEY"] == "gemini_api_key"
    assert {"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY"} < keys.keys()
    assert secrets["service-llm-secret"]["optional"]
    assert {"name": "WHETSTONE_HOME", "value": "/checkpoints/home"} in _container(compiled, step)["env"]
    assert compiled[1][f"exec-{step}"]["pvcMount"][0]["mountPath"] == "/checkpoints"
    assert "accelerator" not in _container(compiled, step)["resources"]


@pytest.mark.parametrize("step", ["round-0-infer-responses", "round-1-finetune-model", "round-2-evaluate-model"])
def test_steps_that_compute_get_a_gpu_and_no_key_of_the_service(compiled, step):
    assert _container(compiled, step)["resources"]["accelerator"]["resourceType"] == "nvidia.com/gpu"
    assert compiled[1][f"exec-{step}"]["nodeSelector"]["labels"] == {"nvidia.com/gpu.product": "NVIDIA-L4"}
    names = [each["secretNameParameter"]["runtimeValue"]["constant"] for each in _secrets(compiled, step)]
    assert names == ["huggingface-secret"]


def test_no_secret_is_written_and_compiling_imports_nothing_heavy(compiled):
    _, _, found, text = compiled
    assert CANARY not in text + found.stdout + found.stderr
    imported = {line.rpartition("|")[2].strip() for line in found.stderr.splitlines() if line.startswith("import time")}
    assert not imported & {"torch", "transformers", "mlflow", "langchain_core", "langchain_openai", "datasets"}


def _secrets(compiled, step):
    return compiled[1][f"exec-{step}"]["secretAsEnv"]


def _container(compiled, step):
    return compiled[0]["deploymentSpec"]["executors"][f"exec-{step}"]["container"]
