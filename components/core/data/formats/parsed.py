"""What every reader gives: one row with its number, or the reason why there is none."""

from dataclasses import dataclass
from typing import Any

from components.core.errors import DataError
from components.core.tasks.seam import Finding


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes above which input is refused, in bytes."""

    file_bytes: int
    """One file, unpacked."""
    row_bytes: int
    """One row."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """One row of a file as it was written."""

    row: int
    """Line number in line formats, else the position of the row; both from 1. 0 stands for the file as a whole."""
    value: dict[str, Any] | None
    """The row, or None when it cannot be read."""
    findings: tuple[Finding, ...] = ()
    """What is wrong with it; an error when there is no value."""
    fatal: bool = False
    """True: the rest of the file could not be read, which no `data.on_bad_row` excuses."""


class BrokenFile(DataError):
    """The rest of a file cannot be read; `kind` and `row` become a finding."""

    def __init__(self, kind: str, message: str, row: int = 0) -> None:
        super().__init__(message)
        self.kind = kind
        self.row = row


def bad_row(row: int, kind: str, message: str) -> Parsed:
    """A row that cannot be read, and why."""
    return Parsed(row, None, (Finding(kind, "error", message),))


def remark(row: int, kind: str, message: str) -> Parsed:
    """Something worth counting that is not a row."""
    return Parsed(row, None, (Finding(kind, "warning", message),))
