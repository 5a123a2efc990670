"""Columns of the input: their types and empty values."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_MOST_COLUMNS = 200


@dataclass
class ColumnCounts:
    """What stood in one column."""

    types: Counter[str] = field(default_factory=Counter)
    """Rows by type of the value."""
    empty: int = 0
    """Rows in which it is null, blank text or an empty list."""


class Columns:
    """Columns of one split, by our names."""

    def __init__(self) -> None:
        self.counts: dict[str, ColumnCounts] = {}
        self.rows = 0

    def add(self, row: Mapping[str, Any]) -> None:
        """Count one row."""
        self.rows += 1
        for name, value in row.items():
            counts = self.counts.get(name)
            if counts is None:
                if len(self.counts) >= _MOST_COLUMNS:
                    continue
                counts = self.counts[name] = ColumnCounts()
            counts.types[type(value).__name__] += 1
            if not value and not isinstance(value, (bool, int, float)) or isinstance(value, str) and value.isspace():
                counts.empty += 1

    def types(self, name: str) -> set[str]:
        """Types seen in a column, null aside."""
        return set(self.counts[name].types) - {"NoneType"} if name in self.counts else set()
