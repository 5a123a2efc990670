"""The answers that are judged: rows as batch inference writes them, grouped by instruction."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.core.errors import DataError

TEXT_COLUMNS = ("instructions", "target_responses", "candidate_responses")
MODEL_COLUMNS = ("model_id", "model_sha")


@dataclass(frozen=True)
class Response:
    """One answer of the model."""

    row: int
    """Number of its row, from 1, as messages name it."""
    instruction: str
    target: str
    candidate: str


@dataclass(frozen=True)
class Task:
    """One judgement to be made."""

    response: Response
    repeat: int
    """Of this answer, from 0."""
    instruction: int
    """Number of its instruction in the order of judging."""
    candidate_first: bool = False
    """Whether the candidate is shown before the reference."""


def parse_responses(rows: Sequence[Mapping[str, Any]], source: str) -> list[Response]:
    """Rows with texts where texts must be.

    Raises:
        DataError: Naming source, row and column.
    """
    found = []
    for number, row in enumerate(rows, start=1):
        for column in TEXT_COLUMNS:
            if not isinstance(row.get(column), str):
                what = "has no" if row.get(column) is None else "has no text in"
                raise DataError(
                    f"{source}, row {number} {what} column {column}. The judge needs the columns "
                    f"{', '.join(TEXT_COLUMNS)}, as batch_inference.py writes them."
                )
        found.append(Response(number, *(row[column] for column in TEXT_COLUMNS)))
    return found


def plan(responses: Sequence[Response], repeat: int, seed: int) -> list[list[Task]]:
    """All judgements, pass by pass: in each pass one of every instruction, in an order that the seed decides.

    Breadth first, because answers to other instructions say most about the model, other answers to the same one less,
    and the same answer again least. All instructions come in the same random order, as the sequential test needs it.
    """
    groups: dict[tuple[str, str], list[Response]] = {}
    for response in responses:
        groups.setdefault((response.instruction, response.target), []).append(response)
    order = list(groups.values())
    random.Random(seed).shuffle(order)
    passes = range(max((len(group) for group in order), default=0) * repeat)
    return [
        [
            Task(group[number % len(group)], number // len(group), instruction)
            for instruction, group in enumerate(order)
            if number < len(group) * repeat
        ]
        for number in passes
    ]
