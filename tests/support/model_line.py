"""A whole run of a tiny model, made once: base, dataset, tokens, training, evaluation, published folder."""

import json
from pathlib import Path
from typing import Any

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
from components.core.registry import publish
from components.core.settings import Settings


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


class ModelLine:
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
            evaluation=EvaluationConfig(max_new_tokens=8, bootstrap_samples=100),
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
