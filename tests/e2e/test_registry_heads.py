"""Models of the task catalogue in MLflow's SQLite file and on the stand-in Hub."""

import json
import shutil
from pathlib import Path

import pytest
from support.head_output import write_head_evaluation, write_head_run

from components.core.recipe import ModelConfig, RegistryConfig
from components.core.registry import champion_folder, lineage, publish_head, register_head, registered_name
from components.core.registry.hub import download_model
from components.core.registry.mlflow_store import open_client
from components.core.registry.model_folder import read_model_folder, verify_checksums
from components.core.settings import Settings

pytestmark = pytest.mark.e2e
NAME = "starter-classification-single-label"


@pytest.fixture(scope="session")
def migrated(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("migrated")
    open_client(Settings(whetstone_home=home))
    return home / "mlflow.db"


@pytest.fixture
def run(tmp_path, migrated):
    made = write_head_run(tmp_path / "run")
    made.settings.whetstone_home.mkdir()
    shutil.copyfile(migrated, made.settings.whetstone_home / "mlflow.db")
    return made


def test_a_passed_model_becomes_the_champion_that_the_next_run_finds_by_its_name(run, tmp_path):
    published = publish_head(*run.inputs(), tmp_path / "out")
    registered = register_head(published, *run.inputs())
    name = registered_name(RegistryConfig(), ModelConfig(model_id="starter"), "classification_single_label")
    assert (registered.name, registered.version) == (name, "1") == (NAME, "1")
    assert champion_folder(name, run.settings) == run.settings.local_registry / NAME / "1"
    found = lineage(NAME, "champion", run.settings)
    assert found["recipe"] == {
        "finetune.deepspeed": "zero.json",
        "finetune.learning_rate": "5e-05",
        "preprocess.batch_size": "1000",
        "preprocess.max_seq_length": "-1",
    }
    assert found["metrics"]["tuned_f1_macro"] == 0.62
    assert found["metrics"]["f1_macro_difference_bag_of_words_low"] == 0.19
    assert found["base_model"] == {"id": "starter", "revision": "starter"}
    assert found["dataset"]["fingerprint"] == "c" * 64
    assert found["git_commit"] == "0123abc"
    client = open_client(run.settings)
    assert client.get_model_version(NAME, "1").tags["task"] == "single_label"
    history = client.get_metric_history(registered.run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == [(10, 2.5), (20, 1.5)]
    reports = {
        item.path for part in ("evaluation", "dataset") for item in client.list_artifacts(registered.run_id, part)
    }
    assert {"evaluation/report.html", "dataset/report.html"} <= reports


def test_registering_again_adds_nothing_and_other_weights_are_the_next_version(run, tmp_path):
    published = publish_head(*run.inputs(), tmp_path / "out")
    first = register_head(published, *run.inputs())
    assert publish_head(*run.inputs(), tmp_path / "again") == published
    assert register_head(published, *run.inputs()) == first
    other = write_head_run(tmp_path / "other", seed=1, whetstone_home=run.settings.whetstone_home)
    assert register_head(publish_head(*other.inputs(), tmp_path / "next"), *other.inputs()).version == "2"


def test_a_refused_model_is_recorded_without_a_version(run):
    write_head_evaluation(run.evaluation_dir, "single_label", outcome="not better than bag of words")
    registered = register_head(None, *run.inputs())
    assert registered.version is None
    client = open_client(run.settings)
    assert client.get_run(registered.run_id).data.tags["verdict"] == "refused"
    assert client.search_registered_models() == []


def test_on_the_hub_it_is_one_commit_with_onnx_and_head_that_comes_back_whole(hub, tmp_path):
    run = write_head_run(tmp_path, "multi_label", hf_token="hf_write", hf_repo="acme/labels", hf_endpoint=hub.url)
    (run.model_dir / "model.onnx").write_bytes(bytes(range(256)) * 64)
    published = publish_head(*run.inputs(), tmp_path / "out")
    repo = hub.repo("model", "acme/labels")
    assert published.uri == f"hf://acme/labels@{repo.head.sha}"
    assert len(repo.commits) - 1 == 1
    folder = download_model(published.uri, run.settings)
    verify_checksums(folder)
    model = read_model_folder(folder)
    assert model.head["thresholds"] == model.info["thresholds"] == [0.2, 0.9, 0.45]
    assert (folder / "model.onnx").read_bytes() == (run.model_dir / "model.onnx").read_bytes()
    assert json.loads((folder / "model_info.json").read_text())["access"]["restricted"] is False
    assert publish_head(*run.inputs(), tmp_path / "again") == published
