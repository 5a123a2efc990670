"""The task `multi_label`: any number of labels, none included, for a text or a pair of texts."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.core.tasks.fields import BadFieldError, parse_fields, parse_list
from components.core.tasks.labels import canonical_label
from components.core.tasks.seam import Finding, Row, Target, TargetKind
from components.core.tasks.text_rows import TEXT_FIELDS, text_key


class MultiLabel:
    """Classification with a set of labels for each row."""

    name = "multi_label"
    columns: Sequence[str] = ("text", "labels")
    optional_columns: Sequence[str] = ("id", "text_pair")
    text_columns: Sequence[str] = ("text", "text_pair")
    target_kind: TargetKind = "labels"

    def parse_row(self, raw: Mapping[str, Any]) -> tuple[Row | None, list[Finding]]:
        """Check one raw row; an error among the findings means that there is no row."""
        return parse_fields(raw, TEXT_FIELDS | {"labels": _parse_labels})

    def row_key(self, row: Row) -> str:
        """The text, or both texts, without differences in case and whitespace."""
        return text_key(row)

    def row_answer(self, row: Row) -> str:
        """The labels in alphabetical order."""
        return "\n".join(sorted(row["labels"]))

    def row_target(self, row: Row) -> Target:
        """The labels."""
        return list(row["labels"])


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
