"""Strict JSON: what Python's parser lets through silently is reported here."""

import ast
import json
import math
from typing import Any

from components.core.tasks.seam import Finding


class _Strict:
    """A JSON decoder that refuses NaN and infinite numbers and notices repeated keys."""

    def __init__(self) -> None:
        self.repeated: set[str] = set()
        self.decoder = json.JSONDecoder(
            object_pairs_hook=self._pairs, parse_float=_finite, parse_constant=_refuse_constant
        )

    def _pairs(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) != len(pairs):
            names = [name for name, _ in pairs]
            self.repeated.update(name for name in names if names.count(name) > 1)
        return value


class NotFinite(ValueError):
    """A number is NaN or too large for a float."""


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotFinite(f"the number {text[:20]} is not finite")
    return number


def _refuse_constant(text: str) -> Any:
    raise NotFinite(f"{text} is not a finite number (and not JSON)")


_STRICT = _Strict()


def decode(text: str, start: int = 0) -> tuple[Any, int, tuple[Finding, ...]]:
    """Decode one JSON value and say where it ends and which remarks it earned.

    Raises:
        ValueError: If it is not JSON; a NotFinite or a json.JSONDecodeError tells which.
    """
    _STRICT.repeated.clear()
    try:
        value, end = _STRICT.decoder.raw_decode(text, start)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not _STRICT.repeated:
        return value, end, ()
    names = ", ".join(sorted(_STRICT.repeated))[:200]
    return (
        value,
        end,
        (Finding("duplicate_key", "warning", f"key {names} occurs twice in one object; the last one counts"),),
    )


def has_lone_surrogate(value: Any) -> bool:
    """True when a string holds half of a surrogate pair, which is not text and cannot be written as UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except RecursionError:
        return False  # only columns that are not used may be nested so deeply, and they are not written
    return False


def explain(text: str, error: ValueError) -> tuple[str, str]:
    """Kind and message for text that is not JSON, with the likely cause; never the text itself."""
    if isinstance(error, NotFinite):
        return "not_finite", f"{error}; write null or a real number"
    if "\x00" in text:
        return "nul_bytes", "holds NUL bytes: the file is damaged (full disk, sparse copy?); copy it again"
    stripped = text.strip()
    if stripped.endswith(",") and _is_json(stripped[:-1]):
        return "trailing_comma", (
            "trailing comma: not one JSON object per line (copied out of a JSON array?); remove the comma at the end"
        )
    if _is_python(stripped):
        return "python_repr", (
            "not valid JSON: single quotes, True or None as Python prints them; write the rows with json.dumps"
        )
    if stripped in ("{", "["):
        return "invalid_json", "not valid JSON: one object must stand on one line, this one is spread over several"
    where = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
    reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)[:100]
    return "invalid_json", f"not valid JSON: {reason}{where}"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _is_python(text: str) -> bool:
    if not text.startswith(("{", "[")) or "'" not in text or len(text) > 100_000:
        return False
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return False
    return True
