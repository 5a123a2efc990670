"""The task `single_label`: one of several classes for a text or a pair of texts."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.core.tasks.fields import is_null, missing, parse_fields
from components.core.tasks.labels import canonical_label
from components.core.tasks.seam import Finding, Row, Target, TargetKind
from components.core.tasks.text_rows import TEXT_FIELDS, text_key


class SingleLabel:
    """Classification with exactly one label for each row."""

    name = "single_label"
    columns: Sequence[str] = ("text", "label")
    optional_columns: Sequence[str] = ("id", "text_pair")
    text_columns: Sequence[str] = ("text", "text_pair")
    target_kind: TargetKind = "label"

    def parse_row(self, raw: Mapping[str, Any]) -> tuple[Row | None, list[Finding]]:
        """Check one raw row; an error among the findings means that there is no row."""
        return parse_fields(raw, TEXT_FIELDS | {"label": _parse_label})

    def row_key(self, row: Row) -> str:
        """The text, or both texts, without differences in case and whitespace."""
        return text_key(row)

    def row_answer(self, row: Row) -> str:
        """The label."""
        return str(row["label"])

    def row_target(self, row: Row) -> Target:
        """The label, as a list of one."""
        return [row["label"]]


def _parse_label(raw: Mapping[str, Any], field: str, findings: list[Finding]) -> str:
    if is_null(raw.get(field)):
        raise missing(raw, field, "a label")
    return canonical_label(raw[field], field, findings)
