"""The model folder between its real sides: what training, data and evaluation write, and what loads it afterwards."""

import json
from pathlib import Path

import pytest
from support.model_line import ModelLine

from components.core.recipe import (
    EvaluationConfig,
    GateConfig,
    ModelConfig,
    TaskConfig,
)
from components.core.registry import champion_folder, lineage, register
from components.core.registry.model_folder import read_model_folder, verify_checksums
from components.core.settings import Settings
from components.core.tasks import read_prompt

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module", params=[True, False], ids=["merged", "adapter"])
def line(request, tmp_path_factory) -> ModelLine:
    return ModelLine(tmp_path_factory.mktemp("line"), request.param)


def test_the_published_folder_is_complete_and_names_its_origin(line):
    folder = read_model_folder(Path(line.published.uri))
    verify_checksums(folder.path)
    info = folder.info
    training = json.loads((line.tuned / "training_info.json").read_text())
    assert info["base_model"]["id"] == "base"
    assert info["run_id"] == training["run_id"]
    assert info["dataset"]["fingerprint"] == line.judged.dataset_fingerprint
    assert info["verdict"]["headline"] == line.judged.verdict.headline
    assert info["metrics"]["tuned_f1"] == line.judged.slices["all"].scores["tuned"]["f1"].value
    assert info["recipe"]["data"]["dataset_id"] == "questions.jsonl"
    assert folder.adapter is not line.recipe["lora"]["merge_lora_weights"]


def test_the_published_folder_asks_as_the_model_was_trained(line):
    assert read_prompt(Path(line.published.uri)) == read_prompt(line.tokens)


def test_the_published_model_gives_the_logits_of_the_trained_one(line):
    import torch
    from transformers import AutoModelForCausalLM

    ids = torch.arange(2, 40)[None]
    logits = []
    for folder in (line.tuned, Path(line.published.uri)):
        if line.recipe["lora"]["merge_lora_weights"]:
            model = AutoModelForCausalLM.from_pretrained(folder)
        else:
            from peft import PeftModel

            base = AutoModelForCausalLM.from_pretrained(line.recipe["model"]["model_id"])
            model = PeftModel.from_pretrained(base, folder)
        logits.append(model.eval()(ids).logits)
    assert torch.equal(*logits)


def test_nothing_of_this_machine_is_published(line):
    root = line.tuned.parent
    for path in Path(line.published.uri).iterdir():
        assert str(root).encode() not in path.read_bytes(), path.name


def test_a_registered_folder_can_be_the_champion_of_the_next_evaluation(line):
    from components.core.evaluation import evaluate

    registered = register(line.published, *line.inputs())
    found = lineage("contract", registered.version, line.settings)
    assert found["metrics"]["tuned_f1"] == line.judged.slices["all"].scores["tuned"]["f1"].value
    assert "train/loss" in open_run_metrics(line.settings, registered.run_id)
    champion = Path(line.published.uri) if champion_folder("contract", line.settings) is None else None
    again = evaluate(
        TaskConfig(), ModelConfig(model_id=line.recipe["model"]["model_id"]),
        EvaluationConfig(max_new_tokens=8, bootstrap_samples=100), GateConfig(enabled=False), line.dataset, line.tuned,
        line.evaluation.parent / "again", line.settings, champion,
    )  # fmt: skip
    gap = again.slices["all"].differences["champion"]["f1"]
    assert (gap.value, gap.changed) == (0.0, 0)


def open_run_metrics(settings: Settings, run_id: str) -> dict[str, float]:
    """Metrics of an MLflow run."""
    from components.core.registry.mlflow_store import open_client

    return dict(open_client(settings).get_run(run_id).data.metrics)
