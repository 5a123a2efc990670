"""JSON in a model's answer: found, whatever stands around it, and held against its type."""

import json
from typing import TypeVar

from pydantic import BaseModel, ValidationError

_T = TypeVar("_T", bound=BaseModel)


def read_json(text: str, kind: type[_T]) -> _T:
    """The first JSON object in a text that is one of the wanted kind; code fences and sentences around it are left out.

    Raises:
        ValueError: If there is none; the message says what was wrong with the best candidate.
    """
    reason = "it holds no JSON object"
    # newlines inside of strings are a model's usual slip, and do no harm
    decoder = json.JSONDecoder(strict=False)
    place = text.find("{")
    while place >= 0:
        try:
            value, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            reason = f"its JSON is broken ({error})" if isinstance(error, ValueError) else "its JSON is nested too deep"
            end = place + 1
        else:
            try:
                return kind.model_validate(value)
            except ValidationError as error:
                reason = _say(error)
        place = text.find("{", end)
    raise ValueError(reason)


def _say(error: ValidationError) -> str:
    """Which keys are wrong, never with what: the values are a stranger's."""
    return "; ".join(f"{'.'.join(map(str, p['loc'])) or 'the object'}: {p['msg']}" for p in error.errors()[:3])
