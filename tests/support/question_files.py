"""Question files of any size, and one call that prepares them."""

import json
import random
from pathlib import Path

from components.core.data import prepare_dataset
from components.core.recipe import DataConfig, TaskConfig
from components.core.settings import Settings

SPLITS = ("train", "validation", "test")


def row(number: int, context: str | None = None, **changes):
    rng = random.Random(number)
    words = [f"w{rng.randrange(10_000)}" for _ in range(60)]
    text = context or " ".join(words)
    answer = text.split()[0]
    values = {
        "id": f"r{number}",
        "context": text,
        "question": f"What is {words[5]} number {number} of {words[6]}?",
        "answers": {"text": [answer], "answer_start": [0]},
    }
    return values | changes


def write(path: Path, rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in rows), encoding="utf-8")
    return path


def prepare(source: Path, output_dir: Path, **changes):
    data = DataConfig.model_validate({"dataset_id": str(source)} | changes)
    return prepare_dataset(data, TaskConfig(), output_dir, Settings(), source_version="v1")


def written(output_dir: Path, split: str):
    return [json.loads(line) for line in (output_dir / f"{split}.jsonl").read_bytes().split(b"\n") if line]


def folder(tmp_path: Path, **splits) -> Path:
    for name, rows in splits.items():
        write(tmp_path / "data" / f"{name}.jsonl", rows)
    return tmp_path / "data"
