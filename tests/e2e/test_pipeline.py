"""The whole pipeline as a user runs it: the command, every step through kfp.local, real training of the starter model.

The Hub is a loopback server (tests/support/hub_server.py); MLflow is its SQLite file.
"""

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.hub_server import HubServer

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
STARTER = ROOT / "components" / "starter"
BRIEF = ["data.max_rows=150", "training.max_steps=4", "evaluation.bootstrap_samples=200"]
STEPS = ["fetch-dataset", "tokenize-dataset", "finetune-model", "evaluate-model", "upload-model", "register-model"]


def run_pipeline(home, *arguments, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "MLFLOW_", "KFP_"))}
    return subprocess.run(
        [sys.executable, "-m", "llm-pipelines.fine-tune-pipeline", *arguments],
        cwd=ROOT,
        env={**clean, "WHETSTONE_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=900,
    )


def steps_run(found):
    return re.findall(r"^== ([\w-]+)$", found.stdout, flags=re.MULTILINE)


def printed_path(found, label):
    return Path(re.search(rf"^{label} +(\S+)", found.stdout, flags=re.MULTILINE).group(1))


def versions(home, name="starter-context-qa"):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    return client.search_model_versions(f"name='{name}'"), client


@pytest.fixture(scope="module")
def passed_run(tmp_path_factory):
    """The main job with fewer rows: enough to learn what the gate asks for."""
    home = tmp_path_factory.mktemp("passed")
    arguments = ["data.max_rows=1500", "training.num_train_epochs=2", "evaluation.max_rows=150"]
    return home, arguments, run_pipeline(home, *arguments)


def test_the_main_job_ends_with_a_registered_better_model(passed_run):
    home, _, found = passed_run
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-2000:]
    assert steps_run(found) == STEPS
    evaluation = json.loads((printed_path(found, "Evaluation report").with_name("evaluation.json")).read_text())
    assert evaluation["verdict"]["status"] == "passed"
    assert "PASSED" in found.stdout
    for label in ("Evaluation report", "Data report", "Token report"):
        assert "<html" in printed_path(found, label).read_text()
    registered, client = versions(home)
    assert len(registered) == 1
    run = client.get_run(registered[0].run_id)
    assert run.data.params["training.num_train_epochs"] in ("2", "2.0")
    assert len(client.get_metric_history(run.info.run_id, "train/loss")) > 1
    model = printed_path(found, "Model")
    assert model.parent.parent == home / "registry"
    assert {"model.safetensors", "prompt.json", "model_info.json", "manifest.json", "README.md"} <= set(
        os.listdir(model)
    )


def test_a_repeated_run_takes_everything_from_the_cache(passed_run):
    home, arguments, first = passed_run
    again = run_pipeline(home, *arguments)
    assert again.returncode == 0, again.stderr[-2000:]
    assert steps_run(again) == []
    assert printed_path(again, "Model") == printed_path(first, "Model")
    assert len(versions(home)[0]) == 1


def test_the_same_model_judged_again_is_no_difference_and_is_not_uploaded(passed_run):
    home, arguments, _ = passed_run
    again = run_pipeline(home, "--no-cache", *arguments)
    assert again.returncode == 3, again.stdout[-3000:] + again.stderr[-2000:]
    assert "no difference" in again.stdout.lower()
    assert "upload-model" not in steps_run(again)
    assert len(versions(home)[0]) == 1
    assert len(list((home / "registry" / "starter-context-qa").iterdir())) == 1


def test_shuffled_answers_are_refused_and_nothing_is_uploaded(tmp_path):
    rows = [json.loads(line) for line in (STARTER / "data" / "train.jsonl").read_text().splitlines()[:900]]
    answers = [row["answers"] for row in rows]
    random.Random(1).shuffle(answers)
    folder = tmp_path / "shuffled"
    folder.mkdir()
    with (folder / "train.jsonl").open("w") as file:
        for row, answer in zip(rows, answers, strict=True):
            # only the texts: their places belong to another context
            file.write(json.dumps(row | {"answers": answer["text"], "is_impossible": not answer["text"]}) + "\n")
    for split in ("validation", "test"):
        (folder / f"{split}.jsonl").write_text((STARTER / "data" / f"{split}.jsonl").read_text())
    found = run_pipeline(
        tmp_path / "home", f"data.dataset_id={folder}", "evaluation.max_rows=150", "training.max_steps=30"
    )
    assert found.returncode == 3, found.stdout[-3000:] + found.stderr[-2000:]
    assert "REFUSED" in found.stdout
    assert steps_run(found)[-1].startswith("register-model")
    assert "upload-model" not in steps_run(found)
    assert not (tmp_path / "home" / "registry").exists()
    assert versions(tmp_path / "home")[0] == []


@pytest.fixture
def hub():
    with HubServer() as hub:
        hub.add_folder("model", "acme/base", STARTER / "model")
        hub.add_folder("dataset", "acme/questions", STARTER / "data")
        yield hub


HUB_RUN = [
    "model.model_id=acme/base",
    "data.dataset_id=acme/questions",
    "tokens.max_seq_length=256",
    "gate.enabled=false",
]


def test_model_and_dataset_come_from_the_hub_and_the_result_goes_back(hub, tmp_path):
    environment = hub.env("hf_write") | {"HF_REPO": "acme/tuned", "HF_HOME": str(tmp_path / "hf")}
    found = run_pipeline(tmp_path / "home", *HUB_RUN, *BRIEF, **environment)
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-2000:]
    tuned = hub.repo("model", "acme/tuned")
    assert tuned.private
    assert f"hf://acme/tuned@{tuned.commits[-1].sha}" in found.stdout
    info = json.loads(tuned.files["model_info.json"])
    assert hub.repo("model", "acme/base").commits[-1].sha in json.dumps(info)
    assert hub.repo("dataset", "acme/questions").commits[-1].sha in json.dumps(info)
    assert "hf_write" not in found.stdout + found.stderr
    written = [path for path in (tmp_path / "home").rglob("*") if path.is_file() and path.suffix != ".safetensors"]
    assert not [path for path in written if b"hf_write" in path.read_bytes()]


def test_a_read_only_token_stops_the_run_before_training(hub, tmp_path):
    environment = hub.env("hf_read") | {"HF_REPO": "acme/tuned", "HF_HOME": str(tmp_path / "hf")}
    found = run_pipeline(tmp_path / "home", *HUB_RUN, *BRIEF, **environment)
    assert found.returncode == 2
    assert "can read but not write" in found.stderr
    assert steps_run(found) == []
    assert "hf_read" not in found.stdout + found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("dataset", "message"),
    [("acme/no-such-set", "acme/no-such-set"), ("no/such/file.jsonl", "no/such/file.jsonl")],
)
def test_a_dataset_that_is_not_there_is_one_clear_line(hub, tmp_path, dataset, message):
    environment = hub.env() | {"HF_HOME": str(tmp_path / "hf")}
    found = run_pipeline(tmp_path / "home", f"data.dataset_id={dataset}", **environment)
    assert found.returncode == 2
    assert message in found.stderr
    assert "Traceback" not in found.stdout + found.stderr
