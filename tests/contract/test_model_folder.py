"""The model folder between its real sides: what training, data and evaluation write, and what loads it afterwards."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.tiny_llama import write_tiny_llama

from components.core.recipe import (
    EvaluationConfig,
    GateConfig,
    LoraConfig,
    ModelConfig,
    Recipe,
    RegistryConfig,
    TaskConfig,
    TokensConfig,
    TrainingConfig,
)
from components.core.registry import champion_folder, lineage, publish, register
from components.core.registry.model_folder import read_model_folder, verify_checksums
from components.core.settings import Settings
from components.core.tasks import read_prompt

pytestmark = pytest.mark.e2e


def write_questions(path: Path, rows: int = 60) -> None:
    """SQuAD-like rows, each with its own context."""
    lines = []
    for number in range(rows):
        context = f"Ship {number} sailed on day {number * 7} with {number * 3 + 1} sailors to port {number * 11}."
        answer = str(number * 3 + 1)
        start = context.index(f"with {answer}") + 5
        answers = {"text": [answer], "answer_start": [start]}
        question = f"How many sailors went on ship {number}?"
        lines.append(json.dumps({"id": f"q{number}", "context": context, "question": question, "answers": answers}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


class Line:
    """A whole run, made once: base model, dataset, tokens, training, evaluation."""

    def __init__(self, root: Path, merge: bool) -> None:
        from components.core.data import prepare_dataset
        from components.core.data.tokens import tokenize_dataset
        from components.core.evaluation import evaluate
        from components.core.training import finetune

        write_questions(root / "questions.jsonl")
        base = write_tiny_llama(root / "base")
        self.settings = Settings(whetstone_home=root / "home")
        recipe = Recipe(
            model=ModelConfig(model_id=str(base)),
            data={"dataset_id": str(root / "questions.jsonl")},
            tokens=TokensConfig(max_seq_length=256),
            training=TrainingConfig(max_steps=2, tokens_per_batch=512),
            lora=LoraConfig(r=2, merge_lora_weights=merge),
            evaluation=EvaluationConfig(max_new_tokens=2, bootstrap_samples=100),
            gate=GateConfig(enabled=False),
            registry=RegistryConfig(name="contract"),
        )
        self.recipe: dict[str, Any] = recipe.model_dump(mode="json", exclude_none=True)
        self.registry = recipe.registry
        self.dataset, self.tokens, self.tuned = root / "dataset", root / "tokens", root / "tuned"
        self.evaluation, self.out = root / "evaluation", root / "out"
        task, model = TaskConfig(), recipe.model
        prepare_dataset(recipe.data, task, self.dataset, self.settings)
        tokenize_dataset(task, model, recipe.tokens, self.dataset, self.tokens, self.settings)
        finetune(task, model, recipe.training, recipe.lora, self.tokens, self.tuned, self.settings)
        self.judged = evaluate(
            task, model, recipe.evaluation, recipe.gate, self.dataset, self.tuned, self.evaluation, self.settings
        )
        self.published = publish(*self.inputs(), self.out)

    def inputs(self) -> tuple[Any, ...]:
        """Arguments of publish and register."""
        return self.tuned, self.evaluation, self.dataset, self.registry, self.recipe, self.settings


@pytest.fixture(scope="module", params=[True, False], ids=["merged", "adapter"])
def line(request, tmp_path_factory) -> Line:
    return Line(tmp_path_factory.mktemp("line"), request.param)


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
        EvaluationConfig(max_new_tokens=2, bootstrap_samples=100), GateConfig(enabled=False), line.dataset, line.tuned,
        line.evaluation.parent / "again", line.settings, champion,
    )  # fmt: skip
    gap = again.slices["all"].differences["champion"]["f1"]
    assert (gap.value, gap.changed) == (0.0, 0)


def open_run_metrics(settings: Settings, run_id: str) -> dict[str, float]:
    """Metrics of an MLflow run."""
    from components.core.registry.mlflow_store import open_client

    return dict(open_client(settings).get_run(run_id).data.metrics)
