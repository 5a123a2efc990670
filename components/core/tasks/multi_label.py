"""The task `multi_label`: any number of labels, none included, for a text or a pair of texts."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.core.metrics.multi_label import (
    ROW_METRICS,
    MultiLabelScores,
    score_multi_label,
    score_multi_label_rows,
)
from components.core.metrics.thresholds import FALLBACK_THRESHOLD, labels_over
from components.core.tasks.fields import BadFieldError, parse_fields, parse_list
from components.core.tasks.heads.encoding import Piece
from components.core.tasks.heads.head import Head
from components.core.tasks.heads.seam import Outputs, Prediction, sigmoid
from components.core.tasks.labels import canonical_label
from components.core.tasks.seam import Finding, Row, Target, TargetKind
from components.core.tasks.text_rows import TEXT_FIELDS, TextInput


class MultiLabel(TextInput):
    """Classification with a set of labels for each row."""

    name = "multi_label"
    columns: Sequence[str] = ("text", "labels")
    target_kind: TargetKind = "labels"
    problem_type: str | None = "multi_label_classification"
    row_metrics: Sequence[str] = ROW_METRICS

    def parse_row(self, raw: Mapping[str, Any]) -> tuple[Row | None, list[Finding]]:
        """Check one raw row; an error among the findings means that there is no row."""
        return parse_fields(raw, TEXT_FIELDS | {"labels": _parse_labels})

    def row_answer(self, row: Row) -> str:
        """The labels in alphabetical order."""
        return "\n".join(sorted(row["labels"]))

    def row_target(self, row: Row) -> Target:
        """The labels."""
        return list(row["labels"])

    def learned(self, row: Row, piece: Piece, head: Head) -> list[float]:
        """1 for each label that the row has, else 0."""
        wanted = set(row["labels"])
        return [float(label in wanted) for label in head.labels]

    def read_out(self, outputs: Sequence[Outputs], rows: Sequence[Row], head: Head) -> list[Prediction]:
        """All labels over their thresholds, perhaps none, and the probability of each."""
        probabilities = sigmoid(np.stack(outputs))
        found = labels_over(probabilities, head.thresholds or [FALLBACK_THRESHOLD] * head.outputs, head.labels)
        return [
            {"labels": labels, "probabilities": dict(zip(head.labels, row, strict=True))}
            for labels, row in zip(found, probabilities.tolist(), strict=True)
        ]

    def line(self, prediction: Prediction) -> str:
        """The labels, as a JSON list."""
        return json.dumps(prediction["labels"], ensure_ascii=False)

    def score(self, rows: Sequence[Row], predictions: Sequence[Prediction], head: Head) -> MultiLabelScores:
        """All metrics."""
        return score_multi_label([row["labels"] for row in rows], [each["labels"] for each in predictions], head.labels)

    def score_rows(self, rows: Sequence[Row], predictions: Sequence[Prediction]) -> list[dict[str, float]]:
        """F1 of the row's labels, and whether all of them are right."""
        return score_multi_label_rows([row["labels"] for row in rows], [each["labels"] for each in predictions])


def _parse_labels(raw: Mapping[str, Any], field: str, findings: list[Finding]) -> list[str]:
    values = parse_list(raw, field, "a list of labels")
    _refuse_multi_hot(values, field)
    labels = [canonical_label(value, f"{field}[{number}]", findings) for number, value in enumerate(values)]
    distinct = list(dict.fromkeys(labels))
    if len(distinct) < len(labels):
        findings.append(Finding("duplicate_label", "warning", f"{field}: a label stands there twice; merged"))
    return distinct


def _refuse_multi_hot(values: list[Any], field: str) -> None:
    """Ids never repeat, and a list of several zeros and ones is far likelier a vector than the ids 0 and 1."""
    numbers = [value for value in values if isinstance(value, (bool, int, float))]
    if len(values) < 2 or len(numbers) < len(values):
        return
    if len(set(numbers)) < len(numbers) or set(numbers) <= {0, 1}:
        raise BadFieldError(
            "multi_hot", f"{field}: looks like a multi-hot vector of width {len(values)}; write the names of its labels"
        )
