"""The task `regression`: a number for a text or a pair of texts."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from components.core.tasks.fields import BadFieldError, missing, parse_fields, type_name
from components.core.tasks.seam import Finding, Row, Target, TargetKind
from components.core.tasks.text_rows import TEXT_FIELDS, text_key


class Regression:
    """Prediction of one finite number for each row, in the unit of the data."""

    name = "regression"
    columns: Sequence[str] = ("text", "score")
    optional_columns: Sequence[str] = ("id", "text_pair")
    text_columns: Sequence[str] = ("text", "text_pair")
    target_kind: TargetKind = "score"

    def parse_row(self, raw: Mapping[str, Any]) -> tuple[Row | None, list[Finding]]:
        """Check one raw row; an error among the findings means that there is no row."""
        return parse_fields(raw, TEXT_FIELDS | {"score": _parse_score})

    def row_key(self, row: Row) -> str:
        """The text, or both texts, without differences in case and whitespace."""
        return text_key(row)

    def row_answer(self, row: Row) -> str:
        """The number."""
        return repr(row["score"])

    def row_target(self, row: Row) -> Target:
        """The number."""
        return float(row["score"])


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
