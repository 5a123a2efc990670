"""Reads a split row by row: maps columns, asks the task, counts everything, spools what is good."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.core.data.contract.columns import Columns
from components.core.data.contract.ledger import Ledger
from components.core.data.contract.private import scan
from components.core.data.contract.spool import Spool, encode_row
from components.core.data.naming import missing_columns_message, rename
from components.core.data.sources import NumberedRow
from components.core.recipe import DataConfig
from components.core.tasks.seam import RowContract

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 5.0
_REMEMBERED_COLUMNS = 100
_REMEMBERED_MESSAGES = 1000


class Progress:
    """A log line every few seconds."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._next = time.monotonic() + PROGRESS_SECONDS

    def tick(self, rows: int) -> None:
        """Report the rows done, if it is time."""
        if rows % 256 == 0 and time.monotonic() >= self._next:
            self._next = time.monotonic() + PROGRESS_SECONDS
            logger.info("%s: %d rows", self._what, rows)


class SplitReader:
    """One pass over the rows of one split."""

    def __init__(self, split: str, task: RowContract, data: DataConfig, ledger: Ledger, path: Path) -> None:
        self.columns = Columns()
        self.spool = Spool(path, task)
        self.rows_read = 0
        """Rows seen, bad ones included."""
        self.unseen = set(data.columns.values())
        """Columns of data.columns that no row had so far."""
        self._split = split
        self._task = task
        self._data = data
        self._ledger = ledger
        self._messages: dict[tuple[str, ...], str] = {}

    def read(self, rows: Iterator[NumberedRow]) -> None:
        """Check and spool all rows."""
        progress = Progress(f"Reading {self._split}")
        for file, parsed in rows:
            for finding in parsed.findings:
                self._ledger.add(finding.kind, finding.severity, file, parsed.row, finding.message, parsed.fatal)
            if parsed.value is not None:
                self.rows_read += 1
                if self.unseen:
                    self.unseen.difference_update(parsed.value)
                self._take(file, parsed.row, rename(parsed.value, self._data.columns))
            elif not parsed.fatal and any(finding.severity == "error" for finding in parsed.findings):
                self.rows_read += 1
            progress.tick(self.rows_read)
        self.spool.close()

    def _take(self, file: str, number: int, raw: dict[str, Any]) -> None:
        self.columns.add(raw)
        row, findings = self._task.parse_row(raw)
        missing = [name for name in self._task.columns if name not in raw] if row is None else []
        if missing:
            self._ledger.add("missing_column", "error", file, number, self._missing_message(missing, list(raw)))
            findings = [finding for finding in findings if finding.kind != "missing_field"]
        for finding in findings:
            self._ledger.add(finding.kind, finding.severity, file, number, finding.message)
        if row is None:
            return
        try:
            line = encode_row(row)
        except UnicodeEncodeError:
            self._ledger.add("invalid_unicode", "error", file, number, "a text holds half of a surrogate pair")
            return
        except (ValueError, TypeError) as error:
            self._ledger.add("not_finite", "error", file, number, f"a value has no JSON form ({error})")
            return
        if len(line) > self._data.max_row_bytes:
            message = f"longer than {self._data.max_row_bytes:,} bytes (data.max_row_bytes)"
            self._ledger.add("row_too_long", "error", file, number, message)
            return
        for kind, message in scan("\n".join(_texts(row))):
            self._ledger.add(kind, "warning", file, number, message)
        given_id = raw.get("id") is not None and str(raw["id"]).strip() not in ("", "nan")
        self.spool.add(row, line, file, number, given_id)

    def _missing_message(self, missing: list[str], found: list[str]) -> str:
        """The message, remembered: when a column is missing, it mostly is in a million rows."""
        key = (*missing, "", *found[:_REMEMBERED_COLUMNS])
        if key not in self._messages:
            if len(self._messages) >= _REMEMBERED_MESSAGES:
                self._messages.clear()
            self._messages[key] = missing_columns_message(missing, self._task.columns, found[:_REMEMBERED_COLUMNS])
        return self._messages[key]


def _texts(value: Any) -> Iterator[str]:
    """Every text inside a row."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def check_drift(columns: dict[str, Columns], task: RowContract, ledger: Ledger) -> None:
    """Warn about columns that differ in presence or type between the splits."""
    present = {split: counts for split, counts in columns.items() if counts.rows}
    used = {*task.columns, *task.optional_columns}
    for name in sorted({name for counts in present.values() for name in counts.counts}):
        without = [split for split, counts in present.items() if name not in counts.counts]
        if without and name in used:
            ledger.add(
                "schema_drift", "warning", "/".join(without), 0, f"column {name[:40]} is in the other splits only"
            )
        types = {split: counts.types(name) for split, counts in present.items() if counts.types(name)}
        if name in used and len({frozenset(kinds) for kinds in types.values()}) > 1:
            shown = "; ".join(f"{split}: {', '.join(sorted(kinds))}" for split, kinds in types.items())
            ledger.add("schema_drift", "warning", "all splits", 0, f"column {name[:40]} has other types ({shown})")
