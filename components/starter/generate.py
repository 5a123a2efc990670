"""The starter's question-answering data set: flat SQuAD 2 rows about invented names."""

import json
import random
from pathlib import Path
from typing import Any

from components.starter.documents import Fact, Scene, draw_question, draw_scene, write_document
from components.starter.exercises import choose_open
from components.starter.names import Split

ROW_COUNTS: dict[Split, int] = {"train": 3000, "validation": 300, "test": 500}
UNANSWERABLE_SHARE = 0.2
Row = dict[str, Any]


def _sentence(text: str) -> str:
    """Give a question a capital letter."""
    return text[:1].upper() + text[1:]


def _draw_answer(rng: random.Random, scene: Scene, starts: dict[Fact, int]) -> tuple[str, dict[str, list[Any]]]:
    """Choose a stated fact; return its question and its answer."""
    fact = rng.choice(scene.facts)
    question = draw_question(rng, fact.attribute).replace("{e}", fact.entity.name)
    return question, {"text": [fact.value], "answer_start": [starts[fact]]}


def draw_row(rng: random.Random, split: Split, answerable: bool) -> Row:
    """Invent one row, without its id.

    Args:
        rng: Source of every choice.
        split: Whose names to use.
        answerable: Whether the context must state the answer.
    """
    while True:
        scene = draw_scene(rng, split)
        open_question = choose_open(rng, scene)
        if answerable or open_question:
            break
    document, starts = write_document(rng, scene)
    if answerable or not open_question:
        question, answers = _draw_answer(rng, scene, starts)
    else:
        entity, attribute = open_question
        question = draw_question(rng, attribute).replace("{e}", entity.name)
        answers = {"text": [], "answer_start": []}
    title = scene.facts[0].entity.name.removeprefix("the ")
    return {"title": title, "context": document.text, "question": _sentence(question), "answers": answers}


def generate_rows(split: Split, count: int, seed: int = 0) -> list[Row]:
    """Generate the rows of one split; the same arguments give the same rows."""
    rng = random.Random(f"rows:{seed}:{split}")
    unanswerable = round(count * UNANSWERABLE_SHARE)
    flags = [index >= unanswerable for index in range(count)]
    rng.shuffle(flags)
    rows: list[Row] = []
    seen: set[str] = set()
    for answerable in flags:
        row = draw_row(rng, split, answerable)
        while row["context"] in seen:
            row = draw_row(rng, split, answerable)
        seen.add(row["context"])
        rows.append({"id": f"starter-{split}-{len(rows) + 1:05d}", **row})
    return rows


def write_data_set(folder: Path, seed: int = 0) -> None:
    """Write `{split}.jsonl` for every split."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in ROW_COUNTS.items():
        lines = [json.dumps(row, ensure_ascii=False) for row in generate_rows(split, count, seed)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
