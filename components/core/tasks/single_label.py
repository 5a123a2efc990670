"""The task `single_label`: one of several classes for a text or a pair of texts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.core.metrics.classification import (
    ROW_METRICS,
    ClassificationScores,
    score_classification,
    score_classification_rows,
)
from components.core.tasks.fields import is_null, missing, parse_fields
from components.core.tasks.heads.encoding import Piece
from components.core.tasks.heads.head import Head
from components.core.tasks.heads.seam import Outputs, Prediction, softmax
from components.core.tasks.labels import canonical_label
from components.core.tasks.seam import Finding, Row, Target, TargetKind
from components.core.tasks.text_rows import TEXT_FIELDS, TextInput


class SingleLabel(TextInput):
    """Classification with exactly one label for each row."""

    name = "single_label"
    columns: Sequence[str] = ("text", "label")
    target_kind: TargetKind = "label"
    problem_type: str | None = "single_label_classification"
    row_metrics: Sequence[str] = ROW_METRICS

    def parse_row(self, raw: Mapping[str, Any]) -> tuple[Row | None, list[Finding]]:
        """Check one raw row; an error among the findings means that there is no row."""
        return parse_fields(raw, TEXT_FIELDS | {"label": _parse_label})

    def row_answer(self, row: Row) -> str:
        """The label."""
        return str(row["label"])

    def row_target(self, row: Row) -> Target:
        """The label, as a list of one."""
        return [row["label"]]

    def learned(self, row: Row, piece: Piece, head: Head) -> int:
        """Number of the label."""
        return head.labels.index(row["label"])

    def read_out(self, outputs: Sequence[Outputs], rows: Sequence[Row], head: Head) -> list[Prediction]:
        """The most probable label, its probability as `score`, and the probabilities of all."""
        probabilities = softmax(np.stack(outputs))
        best = probabilities.argmax(axis=1)
        return [
            {
                "label": head.labels[place],
                "score": row[place],
                "probabilities": dict(zip(head.labels, row, strict=True)),
            }
            for place, row in zip(best.tolist(), probabilities.tolist(), strict=True)
        ]

    def line(self, prediction: Prediction) -> str:
        """The label."""
        return str(prediction["label"])

    def score(self, rows: Sequence[Row], predictions: Sequence[Prediction], head: Head) -> ClassificationScores:
        """All metrics."""
        found = [prediction["label"] for prediction in predictions]
        probabilities = np.array([[each["probabilities"][label] for label in head.labels] for each in predictions])
        return score_classification([row["label"] for row in rows], found, head.labels, probabilities)

    def score_rows(self, rows: Sequence[Row], predictions: Sequence[Prediction]) -> list[dict[str, float]]:
        """Accuracy and the row's share of macro recall."""
        return score_classification_rows([row["label"] for row in rows], [each["label"] for each in predictions])


def _parse_label(raw: Mapping[str, Any], field: str, findings: list[Finding]) -> str:
    if is_null(raw.get(field)):
        raise missing(raw, field, "a label")
    return canonical_label(raw[field], field, findings)
