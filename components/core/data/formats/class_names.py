"""Class ids as the names that a file or Hub dataset gives for them (the `ClassLabel` of the datasets library)."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from components.core.data.formats.parsed import Parsed, remark

METADATA_KEY = b"huggingface"
"""Where the datasets library puts its features into a Parquet file's schema."""


def read_class_names(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """Names by column of a Parquet schema's metadata; nothing where it is of another kind."""
    try:
        features = json.loads((metadata or {})[METADATA_KEY])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return class_names(features) if isinstance(features, dict) else {}


def class_names(features: Mapping[str, Any]) -> dict[str, list[str]]:
    """Columns that hold a class id, or a list of them, with the names of the classes."""
    found = {}
    for column, feature in features.items():
        inner = feature.get("feature", feature) if isinstance(feature, dict) else feature
        if isinstance(inner, list) and inner:
            inner = inner[0]
        if isinstance(inner, dict) and inner.get("_type") == "ClassLabel" and isinstance(inner.get("names"), list):
            found[column] = [str(name) for name in inner["names"]]
    return found


def name_classes(row: dict[str, Any], names: Mapping[str, list[str]]) -> dict[str, Any]:
    """A row with names in the place of ids; -1, which means that there is no label, becomes null."""
    for column, classes in names.items():
        value = row.get(column)
        row[column] = [_name(item, classes) for item in value] if isinstance(value, list) else _name(value, classes)
    return row


def remark_names(columns: Collection[str]) -> Parsed:
    """What is said about a file whose ids were named."""
    return remark(0, "class_names", f"{', '.join(columns)[:200]}: ids were read as the class names that the data gives")


def _name(value: Any, classes: list[str]) -> Any:
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    if 0 <= value < len(classes):
        return classes[value]
    return None if value == -1 else value
