"""Fields of a raw row that several tasks have: texts, ids, lists; each is checked, or refused with a reason."""

import ast
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from components.core.tasks.seam import Finding, Row

_LITERAL_CHARACTERS = 20_000
"""Longest Python list literal that is read; JSON has no such limit."""
_ADJACENT_TEXTS = re.compile(r"""['"]\s+['"]""")

Parser = Callable[[Mapping[str, Any], str, list[Finding]], Any]
"""Reads one field of a raw row, adds what it remarks to the findings, and raises BadFieldError."""


class BadFieldError(Exception):
    """A field makes its row unusable; holds the finding that says why."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.finding = Finding(kind, "error", message)


def parse_fields(raw: Mapping[str, Any], parsers: Mapping[str, Parser]) -> tuple[Row | None, list[Finding]]:
    """The fields that are there, in the order of the parsers; or None and every reason why not."""
    row: Row = {}
    errors: list[Finding] = []
    findings: list[Finding] = []
    for field, parse in parsers.items():
        try:
            value = parse(raw, field, findings)
        except BadFieldError as error:
            errors.append(error.finding)
            continue
        if value is not None:
            row[field] = value
    return (None, errors + findings) if errors else (row, findings)


def type_name(value: Any) -> str:
    """What a value is, in words."""
    names = {"str": "text", "NoneType": "null", "bool": "true/false", "int": "a number", "float": "a number"}
    return names.get(type(value).__name__, f"a {type(value).__name__}")


def is_null(value: Any) -> bool:
    """True for null, and for NaN, which is how a table spells a missing value."""
    return value is None or (isinstance(value, float) and value != value)


def missing(raw: Mapping[str, Any], field: str, expected: str) -> BadFieldError:
    """The complaint about a field that is null or not there."""
    if field in raw:
        return BadFieldError("missing_field", f"{field}: expected {expected}, found null")
    found = ", ".join(str(name)[:40] for name in list(raw)[:10]) or "none"
    return BadFieldError(
        "missing_field",
        f"{field}: expected {expected}, but there is no such column (found: {found}). Map names with data.columns.",
    )


def check_text(value: Any, field: str) -> str:
    """A value that must be text."""
    if not isinstance(value, str):
        raise BadFieldError("wrong_type", f"{field}: expected text, found {type_name(value)}")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise BadFieldError(
                "not_unicode", f"{field}: holds half of a surrogate pair at character {error.start}; repair the text"
            ) from error
    return value


def parse_text(raw: Mapping[str, Any], field: str, findings: list[Finding]) -> str:
    """A required text, not blank, as it was written."""
    if raw.get(field) is None:
        raise missing(raw, field, "text")
    text = check_text(raw[field], field)
    if not text.strip():
        raise BadFieldError("empty_text", f"{field}: is empty")
    return text


def parse_optional_text(raw: Mapping[str, Any], field: str, findings: list[Finding]) -> str | None:
    """A text that may be null or absent, but not blank."""
    return None if is_null(raw.get(field)) else parse_text(raw, field, findings)


def parse_id(raw: Mapping[str, Any], field: str, findings: list[Finding]) -> str | None:
    """An id as text; None where there is none."""
    value = raw.get(field)
    if is_null(value):
        return None
    if isinstance(value, str):
        return check_text(value, field).strip() or None
    if isinstance(value, (dict, list)):
        raise BadFieldError("wrong_type", f"{field}: expected text, found {type_name(value)}")
    # a JSON number that went through a float column comes back as 7.0
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    findings.append(Finding("id_not_text", "warning", f"{field}: {type_name(value)} was turned into text"))
    return text


def parse_list(raw: Mapping[str, Any], field: str, expected: str) -> list[Any]:
    """A list, or a text that holds one in JSON or as a Python literal, which is read and never run."""
    value = raw.get(field)
    if is_null(value):
        raise missing(raw, field, expected)
    if isinstance(value, str):
        value = _read_list(value, field, expected)
    if not isinstance(value, list):
        raise BadFieldError("wrong_type", f"{field}: expected {expected}, found {type_name(value)}")
    return value


def _read_list(text: str, field: str, expected: str) -> Any:
    if text.strip()[:1] == "[":
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            # Python would join texts that no comma parts, which is how numpy prints an array
            if len(text) <= _LITERAL_CHARACTERS and not _ADJACENT_TEXTS.search(text):
                try:
                    return ast.literal_eval(text.strip())
                except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
                    pass
    raise BadFieldError("wrong_type", f'{field}: expected {expected}, found other text; write it as ["a", "b"]')
