"""A dataset that was found: its splits, each of which gives its rows with file and row number."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from components.core.data.formats import Parsed

SPLITS = ("train", "validation", "test")
"""Our names of the splits, in the order of the reports."""

NumberedRow = tuple[str, Parsed]
"""File (as the user knows it) and row."""


@dataclass(frozen=True)
class Source:
    """Where the rows come from."""

    dataset_id: str
    splits: dict[str, Callable[[], Iterator[NumberedRow]]]
    """By our split name; a split that the dataset lacks is absent."""
    revision: str = ""
    """Commit that is read; empty for files."""
    license: str = ""
    """Licence where the dataset states one."""
    files: dict[str, list[str]] = field(default_factory=dict)
    """Names of the input files of each split."""
