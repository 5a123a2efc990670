"""Labels as they are written in data (text, whole numbers, true/false) and as one canonical text."""

import unicodedata
from collections.abc import Sequence
from typing import Any

from components.core.tasks.fields import BadFieldError, check_text, type_name
from components.core.tasks.seam import Finding

_LONGEST = 200


def canonical_label(value: Any, field: str, findings: list[Finding]) -> str:
    """The text of a label: 1, "1" and 1.0 are the same label, true is "true", white space at the ends goes.

    Raises:
        BadFieldError: If it is empty, too long for a label, a fraction, or no label at all.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if not value.is_integer():
            raise BadFieldError(
                "label_not_whole",
                f"{field}: a label is text, true/false or a whole number, found a fraction; is this a regression?",
            )
        value = int(value)
    if isinstance(value, int):
        return _check_length(str(value), field)
    written = check_text(value, field) if isinstance(value, str) else None
    if written is None:
        raise BadFieldError(
            "wrong_type", f"{field}: expected a label (text, a whole number, true/false), found {type_name(value)}"
        )
    text = " ".join(written.split())
    if not text:
        raise BadFieldError("empty_label", f"{field}: is empty")
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise BadFieldError("control_character", f"{field}: a label holds a control character; remove it")
    if text != written:
        findings.append(Finding("label_trimmed", "warning", f"{field}: white space in a label was removed"))
    return _check_length(text, field)


def sort_labels(labels: Sequence[str]) -> list[str]:
    """Labels in the order of their numbers in the model: by value if all are whole numbers, else by code point."""
    try:
        return sorted(labels, key=int) if all(label.lstrip("-").isdecimal() for label in labels) else sorted(labels)
    except ValueError:  # "--1", say
        return sorted(labels)


def _check_length(text: str, field: str) -> str:
    if len(text) > _LONGEST:
        raise BadFieldError(
            "label_too_long", f"{field}: over {_LONGEST} characters; is data.columns mapping the right column?"
        )
    return text
