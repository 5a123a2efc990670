"""Small datasets of the classification, regression and entity tasks, and one call that prepares them."""

import random
from pathlib import Path

from components.core.data import prepare_dataset
from components.core.recipe import DataConfig, TaskConfig
from components.core.settings import Settings

COLOURS = ("red", "green", "blue", "black")


def text(number: int) -> str:
    rng = random.Random(number)
    return " ".join(f"w{rng.randrange(10_000)}" for _ in range(8)) + f" {number}"


def label_row(number: int, label="a", **more):
    return {"text": text(number), "label": label} | more


def labels_row(number: int, *labels: str):
    return {"text": text(number), "labels": list(labels)}


def score_row(number: int, score: float):
    return {"text": text(number), "score": score}


def entity_row(number: int, *types: str):
    """A sentence with one two-word entity of each type."""
    row = {"tokens": text(number).split(), "ner_tags": ["O"] * 9}
    for kind in types:
        row["tokens"] += ["New", f"York{number}", "and"]
        row["ner_tags"] += [f"B-{kind}", f"I-{kind}", "O"]
    return row


def task_rows(task: str, count: int = 60):
    """Learnable rows of a task."""
    makers = {
        "single_label": lambda n: label_row(n, COLOURS[n % 4]),
        "multi_label": lambda n: labels_row(n, *COLOURS[: n % 4]),
        "regression": lambda n: score_row(n, n / 8),
        "ner": lambda n: entity_row(n, *("LOC", "PER")[: n % 3]),
    }
    return [makers[task](number) for number in range(count)]


def prepare_task(task: str, source: Path, output_dir: Path, **changes):
    data = DataConfig.model_validate({"dataset_id": str(source)} | changes)
    return prepare_dataset(data, TaskConfig.model_validate({"name": task}), output_dir, Settings())
