"""The command from rows to an endpoint, in real processes: what it answers is what the inference wrote, row by row."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from support.tiny_encoder import write_encoder

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
CASES = {
    # multi-label and entities through ONNX Runtime, the others in PyTorch
    "classification_single_label": ("text", False),
    "classification_multi_label": ("text", True),
    "regression": ("text", False),
    "ner": ("tokens", True),
}


def run(home, *command):
    environment = dict(os.environ) | {"WHETSTONE_HOME": str(home)}
    for name in ("KFP_HOST", "HF_TOKEN", "HF_REPO", "KUBECONFIG", "MLFLOW_TRACKING_URI"):
        environment.pop(name, None)
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
    )


def found(output, label):
    return re.search(rf"^{label}\s+(\S+)", output, re.MULTILINE).group(1)


@pytest.mark.parametrize("task", CASES)
def test_the_endpoint_answers_what_the_inference_wrote(task, tmp_path):
    column, exported = CASES[task]
    model = write_encoder(tmp_path / "encoder")
    home = tmp_path / "home"
    try:
        done = run(
            home, "llm-pipelines.task-pipeline", task, f"model_id={model}", "max_rows=90", "num_train_epochs=1",
            "learning_rate=5e-3", "per_device_train_batch_size=16", "precision=32", "enabled=false",
            f"apply_ort={str(exported).lower()}", f"registered_model_name=tiny-{task.replace('_', '-')}",
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        predictions = Path(found(done.stdout, "Predictions")).with_name("predictions.jsonl")
        wanted = [json.loads(line) for line in predictions.read_text(encoding="utf-8").splitlines()]
        prepared = Path(found(done.stdout, "Token report")).with_name("test.jsonl")
        rows = [json.loads(line) for line in prepared.read_text(encoding="utf-8").splitlines()]
        metadata = json.loads(predictions.with_name("metadata.json").read_text(encoding="utf-8"))
        assert metadata["runtime"] == ("onnxruntime" if exported else "pytorch")
        address = found(done.stdout, "Endpoint")
        name = httpx.get(f"{address}/v1/models", timeout=30).json()["models"][0]
        answered = httpx.post(
            f"{address}/v1/models/{name}:predict",
            json={"instances": [{column: row[column]} for row in rows]},
            timeout=60,
        ).json()["predictions"]
        assert len(answered) == len(wanted) == len(rows)
        for one, other in zip(answered, wanted, strict=True):
            assert _said(one) == _said(other)
            for key in ("score", "value"):
                if key in other:
                    assert one[key] == pytest.approx(other[key], abs=1e-4)
            assert one.get("probabilities", {}) == pytest.approx(other.get("probabilities", {}), abs=1e-4)
        assert Path(found(done.stdout, "Evaluation report")).is_file()
        if task == "regression":
            served = run(home, "llm-pipelines.serve", "start", "--model", found(done.stdout, "Model"))
            assert served.returncode == 0, served.stdout + served.stderr
            assert json.loads(re.search(r"^Answer\s+(.+)$", served.stdout, re.MULTILINE).group(1))["value"]
    finally:
        stopped = run(home, "llm-pipelines.serve", "stop")
    assert "tiny-" in stopped.stdout
    assert ("api, ui" in stopped.stdout) == (task == "regression")


def _said(prediction):
    return {key: prediction[key] for key in ("label", "labels", "tags", "cut") if key in prediction}


def test_a_model_below_the_minimum_is_refused_and_not_deployed(tmp_path):
    model = write_encoder(tmp_path / "encoder")
    done = run(
        tmp_path / "home", "llm-pipelines.task-pipeline", "ner", f"model_id={model}", "max_rows=60", "max_steps=1",
        "minimum=0.9", "precision=32",
    )  # fmt: skip
    assert done.returncode == 3, done.stdout + done.stderr
    assert "REFUSED" in done.stdout
    assert "Nothing to deploy" in done.stdout
    assert "not uploaded: the gate refused it" in done.stdout


def test_a_bad_row_ends_in_one_line_with_file_and_row(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "good", "label": "a"}\n{"text": "", "label": "b"}\n', encoding="utf-8")
    done = run(
        tmp_path / "home", "llm-pipelines.task-pipeline", "classification_single_label", f"train_file={rows}",
        "sentence1_key=text", "label_key=label",
    )  # fmt: skip
    assert done.returncode == 2
    assert "rows.jsonl" in done.stderr
    assert "row 2" in done.stderr or ":2" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
