"""MLflow in a SQLite file: runs, versions, champions and lineage."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.run_output import DATASET_INFO, RunOutput, write_evaluation, write_run

from components.core.errors import RegistryError, StorageError
from components.core.registry import Published, champion_folder, lineage, publish, register
from components.core.registry.mlflow_store import open_client

pytestmark = pytest.mark.e2e

NAME = "starter-context-qa"


@pytest.fixture(scope="session")
def migrated(tmp_path_factory) -> Path:
    """A SQLite file with MLflow's tables: making them takes seconds, copying them does not."""
    run = write_run(tmp_path_factory.mktemp("migrated"))
    open_client(run.settings)
    return run.settings.whetstone_home / "mlflow.db"


@pytest.fixture
def run(tmp_path, migrated) -> RunOutput:
    made = write_run(tmp_path / "run")
    made.settings.whetstone_home.mkdir()
    shutil.copyfile(migrated, made.settings.whetstone_home / "mlflow.db")
    return made


def finish(run: RunOutput, folder: Path) -> Published:
    """Publish and register a model that passed."""
    published = publish(*run.inputs(), folder)
    register(published, *run.inputs())
    return published


def another(run: RunOutput, folder: Path, fill: float) -> RunOutput:
    """A later model of the same name in the same registry."""
    uri = run.settings.mlflow_tracking_uri
    return write_run(folder, fill=fill, whetstone_home=run.settings.whetstone_home, mlflow_tracking_uri=uri)


def test_a_passed_model_becomes_a_version_that_is_candidate_and_champion(run, tmp_path):
    published = publish(*run.inputs(), tmp_path / "out")
    registered = register(published, *run.inputs())
    assert (registered.name, registered.version) == (NAME, "1")
    version = open_client(run.settings).get_model_version(NAME, "1")
    assert sorted(version.aliases) == ["candidate", "champion"]
    assert version.run_id == registered.run_id
    assert version.tags["content_sha256"] == published.content_sha256
    assert champion_folder(NAME, run.settings) == run.settings.local_registry / NAME / "1"


def test_a_run_holds_recipe_curves_metrics_reports_and_no_weights(run):
    registered = register(None, *run.inputs())
    client = open_client(run.settings)
    data = client.get_run(registered.run_id).data
    assert data.params["training.learning_rate"] == "0.0002"
    assert data.params["lora.r"] == "16"
    assert data.metrics["tuned_f1"] == 0.62
    assert data.metrics["f1_difference_base_low"] == 0.19
    assert data.metrics["training_validation_loss"] == 1.75
    history = client.get_metric_history(registered.run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == [(10, 2.5), (20, 1.5)]
    folders = ("", "evaluation", "dataset")
    paths = {item.path for folder in folders for item in client.list_artifacts(registered.run_id, folder)}
    assert paths >= {"README.md", "model_info.json", "evaluation/report.html", "dataset/report.html"}
    assert not any(path.endswith(".safetensors") for path in paths)
    inputs = client.get_run(registered.run_id).inputs.dataset_inputs
    assert [(item.dataset.name, item.dataset.digest) for item in inputs] == [("starter", "c" * 36)]


def test_a_refused_model_is_recorded_without_a_version(run):
    write_evaluation(run.evaluation_dir, outcome="worse")
    registered = register(None, *run.inputs())
    assert registered.version is None
    client = open_client(run.settings)
    assert client.get_run(registered.run_id).data.tags["verdict"] == "refused"
    assert client.search_registered_models() == []
    assert champion_folder(NAME, run.settings) is None


def test_a_model_that_passed_only_because_the_gate_was_off_is_no_champion(run, tmp_path, caplog):
    evaluation = json.loads((run.evaluation_dir / "evaluation.json").read_text())
    evaluation["verdict"] |= {"outcome": "worse", "headline": "PASSED WITH THE GATE OFF (it would have refused it)"}
    (run.evaluation_dir / "evaluation.json").write_text(json.dumps(evaluation))
    finish(run, tmp_path / "out")
    assert open_client(run.settings).get_model_version(NAME, "1").aliases == ["candidate"]
    assert champion_folder(NAME, run.settings) is None
    assert "is no champion: PASSED WITH THE GATE OFF" in caplog.text


def test_registering_again_adds_nothing(run, tmp_path):
    published = publish(*run.inputs(), tmp_path / "out")
    first = register(published, *run.inputs())
    assert register(published, *run.inputs()) == first
    client = open_client(run.settings)
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 1
    assert len(client.search_runs([client.get_experiment_by_name(NAME).experiment_id])) == 1


def test_a_try_that_broke_off_is_recorded_anew(run, tmp_path, monkeypatch):
    (run.model_dir / "training_log.jsonl").write_text('{"step": 1, "loss": 1.0}\nnot json\n', encoding="utf-8")
    with pytest.raises(StorageError, match="training_log.jsonl, line 2 is not a JSON object"):
        register(None, *run.inputs())
    (run.model_dir / "training_log.jsonl").write_text('{"step": 1, "loss": 1.0}\n', encoding="utf-8")
    registered = register(None, *run.inputs())
    client = open_client(run.settings)
    runs = client.search_runs([client.get_experiment_by_name(NAME).experiment_id])
    assert {found.info.run_id: found.info.status for found in runs}[registered.run_id] == "FINISHED"
    assert sorted(found.info.status for found in runs) == ["FAILED", "FINISHED"]


def test_the_next_champion_takes_over_and_an_old_result_does_not_take_it_back(run, tmp_path):
    old = finish(run, tmp_path / "out")
    finish(another(run, tmp_path / "next", 0.25), tmp_path / "out2")
    assert champion_folder(NAME, run.settings) == run.settings.local_registry / NAME / "2"
    assert register(old, *run.inputs()).version == "1"
    assert champion_folder(NAME, run.settings) == run.settings.local_registry / NAME / "2"


def test_lineage_names_run_base_data_recipe_code_and_place(run, tmp_path):
    published = finish(run, tmp_path / "out")
    found = lineage(NAME, "champion", run.settings)
    assert found == lineage(NAME, "1", run.settings)
    assert found["uri"] == f"whetstone:/{NAME}/1"
    assert found["base_model"] == {"id": "starter", "revision": "starter"}
    assert found["dataset"] == {"id": "starter", "revision": "", "fingerprint": DATASET_INFO["fingerprint"]}
    assert found["recipe"]["training.num_train_epochs"] == "2.0"
    assert found["git_commit"] == "0123abc"
    assert found["content_sha256"] == published.content_sha256
    assert found["metrics"]["tuned_exact_match"] == 0.62


def test_a_version_that_is_not_there_is_told_with_those_that_are(run, tmp_path):
    finish(run, tmp_path / "out")
    with pytest.raises(RegistryError, match=f"{NAME} has no version 9: {NAME} has the versions 1"):
        lineage(NAME, "9", run.settings)
    with pytest.raises(RegistryError, match="other-model has no version champion: other-model is not registered"):
        lineage("other-model", "champion", run.settings)


def test_without_any_registration_there_is_no_champion_and_no_database(tmp_path):
    run = write_run(tmp_path)
    assert champion_folder(NAME, run.settings) is None
    assert not run.settings.whetstone_home.exists()


def test_a_champion_whose_folder_is_gone_stops_the_comparison(run, tmp_path):
    published = finish(run, tmp_path / "out")
    shutil.rmtree(published.uri)
    with pytest.raises(RegistryError, match="as whetstone:/.* is gone. Bring the folder back .*gate.champion=ignore"):
        champion_folder(NAME, run.settings)


def test_a_champion_that_lost_a_file_is_not_compared_with(run, tmp_path):
    published = finish(run, tmp_path / "out")
    (Path(published.uri) / "model.safetensors").unlink()
    with pytest.raises(StorageError, match="not a complete model folder: it lacks model.safetensors"):
        champion_folder(NAME, run.settings)


def test_a_fresh_file_is_made_without_a_flood_of_log_lines(tmp_path):
    code = (
        "import logging; from pathlib import Path; from support.run_output import write_run;"
        "from components.core.registry import register; logging.basicConfig(level=logging.INFO);"
        f"register(None, *write_run(Path({str(tmp_path / 'b')!r})).inputs())"
    )
    env = os.environ | {"PYTHONPATH": f"{Path.cwd()}:{Path.cwd() / 'tests'}"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = (done.stdout + done.stderr).splitlines()
    assert len(lines) == 1, lines
    assert "it was refused and gets no version" in lines[0]
    assert {path.name for path in tmp_path.iterdir()} == {"b"}
    assert {path.name for path in (tmp_path / "b" / "home").iterdir()} == {"mlflow.db", "mlruns"}


def test_two_processes_that_make_the_file_at_once_share_it(tmp_path):
    code = (
        "import sys; from pathlib import Path; from support.run_output import write_run;"
        "from components.core.registry import register;"
        f"run = write_run(Path({str(tmp_path)!r}) / sys.argv[1], whetstone_home=Path({str(tmp_path / 'home')!r}));"
        "run.registry = run.registry.model_copy(update={'name': 'model-' + sys.argv[1]});"
        "register(None, *run.inputs())"
    )
    env = os.environ | {"PYTHONPATH": f"{Path.cwd()}:{Path.cwd() / 'tests'}"}
    processes = [subprocess.Popen([sys.executable, "-c", code, name], env=env) for name in ("a", "b")]
    assert [process.wait(300) for process in processes] == [0, 0]
    client = open_client(write_run(tmp_path / "c", whetstone_home=tmp_path / "home").settings)
    assert {found.name for found in client.search_experiments()} >= {"model-a", "model-b"}


def test_a_file_that_is_no_database_is_told(run):
    (run.settings.whetstone_home / "mlflow.db").write_text("not a database" * 1000)
    with pytest.raises(RegistryError, match=r"the run in MLflow: .*mlflow.db cannot be used .*file is not a database"):
        register(None, *run.inputs())
