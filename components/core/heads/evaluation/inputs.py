"""What the evaluation reads: prepared rows, and the predictions that were made from them."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from components.core.errors import DataError, StorageError, TrainingError
from components.core.heads.folders import METADATA_FILE, PREDICTIONS_FILE
from components.core.registry.facts import read_json
from components.core.registry.manifest import hash_file
from components.core.tasks import HeadTask, Row
from components.core.tasks.heads import Head, Prediction

PREPARE_AGAIN = "Run the preprocessing again."
PREDICT_AGAIN = "Run the inference on the preprocessing's test.jsonl again."


def read_split(folder: Path, split: str, task: HeadTask) -> list[Row]:
    """Canonical rows of one split.

    Raises:
        DataError: If the file is missing or holds a row that is not one of the task.
    """
    path, rows = folder / f"{split}.jsonl", []
    for number, raw in enumerate(_lines(path, DataError, PREPARE_AGAIN), start=1):
        row, findings = task.parse_row(raw)
        if row is None:
            reason = findings[0].message if findings else "it lacks something"
            raise DataError(f"{path}, row {number} is no row of the task {task.name}: {reason}. {PREPARE_AGAIN}")
        rows.append(row)
    return rows


def read_predictions(folder: Path, test_file: Path, rows: int, head: Head) -> tuple[list[Prediction], dict[str, Any]]:
    """Predictions of the test rows, and the facts of the inference.

    Raises:
        StorageError: If they were made from another file, or are not predictions of this task.
        TrainingError: If one is not a number.
    """
    facts = read_json(folder / METADATA_FILE, PREDICT_AGAIN)
    path = folder / PREDICTIONS_FILE
    if facts.get("test_sha256") != hash_file(test_file):
        raise StorageError(f"{folder} holds predictions of another file than {test_file}. {PREDICT_AGAIN}")
    found = _lines(path, StorageError, PREDICT_AGAIN)
    if len(found) != rows:
        raise StorageError(f"{path} holds {len(found)} predictions, {test_file} {rows} rows. {PREDICT_AGAIN}")
    for number, each in enumerate(found, start=1):
        problem = _problem(each, head)
        if problem:
            raise StorageError(f"{path}, line {number} is no prediction of the task {head.task}: {problem}.")
        if not all(math.isfinite(value) for value in _numbers(each)):
            raise TrainingError(
                f"{path}, line {number} holds a number that is not finite: training has diverged. Lower "
                "learning_rate, or set precision=32."
            )
    return found, facts


def _problem(prediction: Mapping[str, Any], head: Head) -> str:
    needed: dict[str, dict[str, type]] = {
        "single_label": {"label": str, "probabilities": dict},
        "multi_label": {"labels": list, "probabilities": dict},
        "regression": {"value": float},
        "ner": {"tags": list},
    }
    for name, kind in needed[head.task].items():
        value = prediction.get(name)
        if not isinstance(value, kind | int if kind is float else kind):
            return f"{name} is missing or of the wrong type"
    if head.task in ("single_label", "multi_label") and set(prediction["probabilities"]) != set(head.labels):
        return "its probabilities are not those of the labels in head.json"
    return ""


def _numbers(prediction: Mapping[str, Any]) -> list[float]:
    return [*prediction.get("probabilities", {}).values(), *([prediction["value"]] if "value" in prediction else [])]


def _lines(path: Path, kind: Callable[[str], Exception], remedy: str) -> list[dict[str, Any]]:
    try:
        # not splitlines: a text may hold a line separator of Unicode
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise kind(f"{path} is missing or cannot be read. {remedy}") from error
    found = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                found.append(dict(json.loads(line)))
            except (ValueError, TypeError) as error:
                raise kind(f"{path}, line {number} is not a JSON object. {remedy}") from error
    return found
