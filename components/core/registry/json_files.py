"""Readers of the JSON files that other rooms left; what is wrong with one becomes a StorageError with the remedy."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from components.core.errors import StorageError

_T = TypeVar("_T", bound=BaseModel)


def read_model(path: Path, kind: type[_T], remedy: str) -> _T:
    """Read a JSON file into a model.

    Raises:
        StorageError: If it is missing or lacks something.
    """
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors()[:3])
        raise StorageError(f"{path} cannot be used ({problems}). {remedy}") from error
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} is missing or cannot be read. {remedy}") from error


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        StorageError: If the file is missing or is not a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} is missing or is not JSON. {remedy}") from error
    if not isinstance(value, dict):
        raise StorageError(f"{path} is not a JSON object. {remedy}")
    return value


def read_lines(path: Path, remedy: str) -> list[dict[str, Any]]:
    """Read JSON Lines.

    Raises:
        StorageError: If a line is not a JSON object; the message says which.
    """
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            found.append(dict(json.loads(line)))
        except (ValueError, TypeError) as error:
            raise StorageError(f"{path}, line {number} is not a JSON object. {remedy}") from error
    return found
