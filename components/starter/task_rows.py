"""The starter's rows for conversations, and for the tasks that a classification or regression head answers."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.starter.documents import draw_question, draw_scene, write_document
from components.starter.exercises import choose_open
from components.starter.kinds import KINDS
from components.starter.names import Split, draw_name
from components.starter.passages import Piece, draw_facts, draw_plain_name, state, tagged, text_of
from components.starter.ratings import draw_note

ROW_COUNTS: dict[Split, int] = {"train": 1200, "validation": 200, "test": 300}
FACT_LABELS = {
    "person": "person",
    "town": "place",
    "river": "place",
    "mountain": "place",
    "year": "time",
    "day": "time",
    "number": "number",
    "company": "company",
    "goods": "goods",
}
"""What a fact tells, by the kind of its value; other facts (a colour, an animal, a job) have no label."""
Row = dict[str, Any]


def draw_single_label(rng: random.Random, split: Split) -> Row:
    """Two or three facts about one thing, often one about another kind of thing between them; the label is the first.

    The names say nothing about the kind, and phrases such as "was founded in" fit several kinds.
    """
    kind, other = rng.sample(KINDS, 2)
    name, other_name = draw_name(rng, split), draw_name(rng, split)
    facts = draw_facts(rng, kind, name, rng.randint(2, 3), split)
    sentences = [state(rng, fact, [Piece(name)]) for fact in facts]
    if rng.random() < 0.5:
        (fact,) = draw_facts(rng, other, other_name, 1, split)
        sentences.insert(rng.randint(0, len(sentences)), state(rng, fact, [Piece(other_name)]))
    return {"text": text_of(sentences), "label": kind.noun}


def draw_multi_label(rng: random.Random, split: Split) -> Row:
    """One to three facts; the labels say what they tell."""
    facts = []
    for _ in range(rng.randint(1, 3)):
        facts += draw_facts(rng, rng.choice(KINDS), "", 1, split)
    labels = {FACT_LABELS[fact.attribute.value] for fact in facts if fact.attribute.value in FACT_LABELS}
    return {"text": text_of([state(rng, fact, [Piece(fact.entity.name)]) for fact in facts]), "labels": sorted(labels)}


def draw_regression(rng: random.Random, split: Split) -> Row:
    """A visitor's note and its rating."""
    text, rating = draw_note(rng, split)
    return {"text": text, "score": rating}


def draw_ner(rng: random.Random, split: Split) -> Row:
    """One to three facts as words, with the names of persons, places, organisations and works tagged."""
    sentences = []
    for _ in range(rng.randint(1, 3)):
        kind = rng.choice(KINDS)
        (fact,) = draw_facts(rng, kind, "", 1, split)
        sentences.append(state(rng, fact, draw_plain_name(rng, kind, split)))
    tokens, tags = tagged(sentences)
    return {"tokens": tokens, "ner_tags": tags}


def draw_chat_completion(rng: random.Random, split: Split) -> Row:
    """Notes and a question about them, then up to two more; one in five asks what the notes do not say."""
    scene = draw_scene(rng, split)
    document, _ = write_document(rng, scene)
    messages: list[dict[str, str]] = []
    for fact in rng.sample(scene.facts, min(rng.randint(1, 3), len(scene.facts))):
        left_open = choose_open(rng, scene) if rng.random() < 0.2 else None
        entity, attribute = left_open or (fact.entity, fact.attribute)
        question = draw_question(rng, attribute).replace("{e}", entity.name)
        question = question[:1].upper() + question[1:]
        if any(each["content"].endswith(question) for each in messages):
            continue
        asked = question if messages else f"{document.text}\n{question}"
        answer = "The notes do not say." if left_open else f"{fact.value}."
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return {"messages": messages}


TASKS: dict[str, Callable[[random.Random, Split], Row]] = {
    "single_label": draw_single_label,
    "multi_label": draw_multi_label,
    "regression": draw_regression,
    "ner": draw_ner,
    "chat_completion": draw_chat_completion,
}


def generate_task_rows(task: str, split: Split, count: int, seed: int = 0) -> list[Row]:
    """Generate the rows of one split, no two alike; the same arguments give the same rows."""
    rng = random.Random(f"{task}:{seed}:{split}")
    rows: dict[str, Row] = {}
    while len(rows) < count:
        row = TASKS[task](rng, split)
        key = json.dumps(row.get("text") or row.get("tokens") or row["messages"])
        rows.setdefault(key, {"id": f"{task}-{split}-{len(rows) + 1:05d}", **row})
    return list(rows.values())


def write_task_sets(folder: Path, seed: int = 0) -> None:
    """Write `{task}/{split}.jsonl` for every task and split."""
    for task in TASKS:
        (folder / task).mkdir(parents=True, exist_ok=True)
        for split, count in ROW_COUNTS.items():
            lines = [json.dumps(row, ensure_ascii=False) for row in generate_task_rows(task, split, count, seed)]
            (folder / task / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
