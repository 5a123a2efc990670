"""Int8 from the gate to the endpoint: judged over HTTP by the real command, then served or refused."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from support.endpoint_server import ROOT, EndpointServer, ask
from support.model_line import ModelLine, write_questions

pytestmark = pytest.mark.e2e


def start_gate(*arguments: object, home: Path, **environment: str) -> "subprocess.Popen[str]":
    """The command as a user calls it, on a machine whose own endpoint has a key, tracing and other sampling."""
    others = {
        "API_KEY_PRIMARY": "secret", "LANGSMITH_TRACING": "true", "LANGSMITH_ENDPOINT": "http://127.0.0.1:9",
        "REPETITION_PENALTY": "9", "MAX_BODY_BYTES": "10", "DO_SAMPLE": "true",
    }  # fmt: skip
    own = {"WHETSTONE_HOME": str(home), "THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "llm-pipelines.gate-int8", *map(str, arguments)],
        cwd=ROOT, env=dict(os.environ) | others | own | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def gate(*arguments: object, home: Path) -> "subprocess.CompletedProcess[str]":
    """The command to its end."""
    process = start_gate(*arguments, home=home)
    stdout, stderr = process.communicate(timeout=240)
    return subprocess.CompletedProcess([], process.returncode, stdout, stderr)


def running(home: Path) -> list[psutil.Process]:
    """Endpoint processes that work in a home, whoever their parent is by now."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("HOST") and process.environ().get("WHETSTONE_HOME") == str(home):
                found.append(process)
    return found


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> ModelLine:
    return ModelLine(tmp_path_factory.mktemp("line"), merge=True)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def judged(line: ModelLine, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder that the gate has passed."""
    place = tmp_path_factory.mktemp("judged")
    folder = Path(shutil.copytree(line.published.uri, place / "1"))
    write_questions(place / "questions.jsonl", rows=40)
    # a model trained for two steps answers nothing right, so there is nothing for int8 to lose
    done = gate("--model", folder, "--dataset-dir", place / "questions.jsonl", "--max-rows", 35, home=home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fp32: 35 of 35 questions" in done.stdout
    assert "int8: 35 of 35 questions" in done.stdout
    assert "All rows (35)  F1" in done.stdout
    assert "note: every row is of one kind" in done.stdout
    assert "PASSED: F1 with int8 weights is not more than 2.0 points below fp32" in done.stdout
    assert not running(home)
    return folder


@pytest.fixture
def folder(judged: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(judged, tmp_path / "1"))


def refused_start(folder: Path, tmp_path: Path, **environment: str) -> str:
    """What an endpoint says that does not come up with int8."""
    server = EndpointServer(tmp_path, folder, ready=False, WEIGHTS="int8", **environment)
    try:
        assert server.process.wait(60) == 2
    finally:
        server.stop()
    return server.log


def test_the_gate_writes_its_verdict_beside_the_model(judged: Path, line: ModelLine):
    record = json.loads((judged / "quantization.json").read_text(encoding="utf-8"))
    assert record["content_sha256"] == line.published.content_sha256
    assert record["int8"]["status"] == "passed"
    assert record["int8"]["rows"] == 35
    assert {path.name for path in judged.iterdir()} - {path.name for path in Path(line.published.uri).iterdir()} == {
        "quantization.json"
    }


def test_int8_is_served_after_a_pass_from_the_conversion_of_the_gate(judged: Path, home: Path):
    conversions = sorted((home / "cache" / "engines").iterdir())
    with EndpointServer(home, judged, WEIGHTS="int8") as server:
        reply = ask(server, max_new_tokens=4)
        assert reply.status_code == 200
        assert reply.json()["revision"] == "1"
        assert "on openvino (int8)" in server.log
    assert sorted((home / "cache" / "engines").iterdir()) == conversions
    precisions = {json.loads((path / "conversion.json").read_text())["precision"] for path in conversions}
    assert precisions == {"fp32", "int8"}


def test_int8_is_not_served_without_a_verdict(folder: Path, tmp_path: Path):
    (folder / "quantization.json").unlink()
    log = refused_start(folder, tmp_path)
    assert f"error: WEIGHTS=int8, but nobody has judged int8 for {folder}" in log
    assert f"Run `python -m llm-pipelines.gate-int8 --model {folder} --dataset-dir ...` first, or unset WEIGHTS." in log
    assert "Traceback" not in log


def test_int8_is_not_served_on_the_verdict_of_other_weights(folder: Path, tmp_path: Path):
    record = json.loads((folder / "quantization.json").read_text(encoding="utf-8"))
    (folder / "quantization.json").write_text(json.dumps(record | {"content_sha256": "0" * 64}), encoding="utf-8")
    assert "is of other weights than those beside it" in refused_start(folder, tmp_path)


def test_int8_is_not_served_against_the_verdict(folder: Path, tmp_path: Path):
    record = json.loads((folder / "quantization.json").read_text(encoding="utf-8"))
    record["int8"] |= {"status": "refused", "headline": "REFUSED: F1 is worse"}
    (folder / "quantization.json").write_text(json.dumps(record), encoding="utf-8")
    assert "int8 did not pass for this model. REFUSED: F1 is worse. Unset WEIGHTS." in refused_start(folder, tmp_path)


def test_int8_is_not_served_by_a_model_of_nobody(tmp_path: Path):
    starter = ROOT / "components" / "starter" / "model"
    assert "has no manifest.json: int8 is judged for model folders" in refused_start(starter, tmp_path)


def test_fp32_needs_no_verdict(folder: Path, home: Path):
    (folder / "quantization.json").unlink()
    with EndpointServer(home, folder) as server:
        assert "on openvino (fp32)" in server.log


def test_ending_the_gate_ends_its_endpoint_and_leaves_no_trial_behind(folder: Path, home: Path, tmp_path: Path):
    (folder / "quantization.json").unlink()
    write_questions(tmp_path / "rows.jsonl", rows=40)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = start_gate("--model", folder, "--dataset-dir", tmp_path / "rows.jsonl", home=home, TMPDIR=str(temporary))
    deadline = time.monotonic() + 60
    while not running(home) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(list(temporary.iterdir())) == 1
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert not running(home)
    assert not list(temporary.iterdir())
    assert not (folder / "quantization.json").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("no model", "is not a folder"),
        ("no manifest", "it lacks manifest.json"),
        ("changed weights", "changed: model.safetensors"),
        ("no rows", "cannot read"),
        ("bad rows", "row 1: not a canonical row"),
        ("too few rows", "10 test rows are too few to judge int8"),
        ("other recipe", "does not say how the model was judged"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(folder: Path, home: Path, tmp_path: Path, wrong: str, message: str):
    (folder / "quantization.json").unlink()
    rows, arguments = tmp_path / "rows.jsonl", []
    write_questions(rows, rows=40)
    if wrong == "no model":
        shutil.rmtree(folder)
    elif wrong == "no manifest":
        (folder / "manifest.json").unlink()
    elif wrong == "changed weights":
        content = bytearray((folder / "model.safetensors").read_bytes())
        content[-1] ^= 1
        (folder / "model.safetensors").write_bytes(content)
    elif wrong == "no rows":
        rows.unlink()
    elif wrong == "bad rows":
        rows.write_text('{"question": "Who?"}\n', encoding="utf-8")
    elif wrong == "too few rows":
        arguments = ["--max-rows", "10"]
    else:
        (folder / "model_info.json").write_text('{"recipe": {"task": {"name": "poetry"}}}', encoding="utf-8")
    done = gate("--model", folder, "--dataset-dir", rows, *arguments, home=home)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (folder / "quantization.json").exists()
