"""The task `regression`: a number for a text or a pair of texts."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from components.core.errors import StorageError
from components.core.metrics.regression import (
    ROW_METRICS,
    RegressionScores,
    score_regression,
    score_regression_rows,
)
from components.core.tasks.fields import BadFieldError, missing, parse_fields, type_name
from components.core.tasks.heads.encoding import Piece
from components.core.tasks.heads.head import HEAD_FILE, Head, Scale
from components.core.tasks.heads.seam import Outputs, Prediction
from components.core.tasks.seam import Finding, Row, Target, TargetKind
from components.core.tasks.text_rows import TEXT_FIELDS, TextInput


class Regression(TextInput):
    """Prediction of one finite number for each row, in the unit of the data."""

    name = "regression"
    columns: Sequence[str] = ("text", "score")
    target_kind: TargetKind = "score"
    problem_type: str | None = "regression"
    row_metrics: Sequence[str] = ROW_METRICS

    def parse_row(self, raw: Mapping[str, Any]) -> tuple[Row | None, list[Finding]]:
        """Check one raw row; an error among the findings means that there is no row."""
        return parse_fields(raw, TEXT_FIELDS | {"score": _parse_score})

    def row_answer(self, row: Row) -> str:
        """The number."""
        return repr(row["score"])

    def row_target(self, row: Row) -> Target:
        """The number."""
        return float(row["score"])

    def learned(self, row: Row, piece: Piece, head: Head) -> float:
        """The number, normalised."""
        scale = _scale(head)
        return (float(row["score"]) - scale.mean) / scale.std

    def read_out(self, outputs: Sequence[Outputs], rows: Sequence[Row], head: Head) -> list[Prediction]:
        """The number in the unit of the target."""
        scale = _scale(head)
        return [{"value": float(values[0]) * scale.std + scale.mean} for values in outputs]

    def line(self, prediction: Prediction) -> str:
        """The number."""
        return repr(prediction["value"])

    def score(self, rows: Sequence[Row], predictions: Sequence[Prediction], head: Head) -> RegressionScores:
        """All metrics."""
        return score_regression([row["score"] for row in rows], [each["value"] for each in predictions])

    def score_rows(self, rows: Sequence[Row], predictions: Sequence[Prediction]) -> list[dict[str, float]]:
        """The row's share of R squared, and its absolute error with a minus."""
        return score_regression_rows([row["score"] for row in rows], [each["value"] for each in predictions])


def _scale(head: Head) -> Scale:
    if head.scale is None:
        raise StorageError(f"{HEAD_FILE} of a {head.task} model has no scale. Name a model of the task regression.")
    return head.scale


def _parse_score(raw: Mapping[str, Any], field: str, findings: list[Finding]) -> float:
    value = raw.get(field)
    if value is None:
        raise missing(raw, field, "a number")
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise BadFieldError("wrong_type", f"{field}: expected a number, found {type_name(value)}")
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        what = "text" if isinstance(value, str) else "a number that is too large"
        raise BadFieldError("wrong_type", f"{field}: expected a number, found {what}") from error
    # float() reads "1_000" as a thousand; in data that is a slip, not a number
    if isinstance(value, str) and "_" in value:
        raise BadFieldError("wrong_type", f"{field}: expected a number, found text")
    if not math.isfinite(number):
        raise BadFieldError("not_finite", f"{field}: NaN or infinity; write a real number")
    return number
