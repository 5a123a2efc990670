"""Rows of a file that is to be predicted: every one is checked, because there is a line for every one."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.data.contract.reading import Progress
from components.core.data.formats import Limits
from components.core.data.naming import printable, rename
from components.core.data.sources.local import check_format, find_local, read_files
from components.core.errors import DataError
from components.core.heads.folders import PREPROCESS_ARGS_FILE
from components.core.recipe import DataConfig
from components.core.tasks import HeadTask, Row
from components.core.tasks.fields import is_null

TEST_SPLIT = "test.jsonl"
_SHOWN_ERRORS = 5


@dataclass(frozen=True)
class InputRow:
    """One row of the file."""

    number: int
    """As the file counts: a line, or a position; from 1."""
    inputs: Row
    """What the model reads, in canonical form."""
    labelled: Row | None
    """The same with what it teaches; None where the file does not say."""


class InputFile:
    """A file of rows.

    Args:
        path: A file in any of the formats, or the output of a preprocess, whose test split is meant.
        task: Checks the rows.
        columns: Our column name to the file's; a split that a preprocess wrote has our own.

    Raises:
        StorageError: If it cannot be found.
        DataError: If its format is not known.
    """

    def __init__(self, path: Path, task: HeadTask, columns: dict[str, str]) -> None:
        prepared = path / TEST_SPLIT if (path / PREPROCESS_ARGS_FILE).is_file() else path
        self.path = find_local(prepared, "test_file")
        if self.path.is_dir():
            raise DataError(f"test_file={printable(str(path))}: is a folder. Name one file, or a preprocess's output.")
        check_format(self.path)
        own = (self.path.parent / PREPROCESS_ARGS_FILE).is_file()
        self._task, self._columns = task, {} if own else columns
        self._target = next(name for name in task.columns if name not in task.input_columns)
        self.name = printable(self.path.name)

    def check(self) -> int:
        """Read every row once.

        Returns:
            How many there are.

        Raises:
            DataError: Naming the rows that cannot be predicted, or if there is none.
        """
        problems: list[str] = []
        count = bad = 0
        progress = Progress(f"Checking {self.name}")
        for found in self._read():
            count += 1
            if isinstance(found, str):
                bad += 1
                problems += [found] if len(problems) < _SHOWN_ERRORS else []
            progress.tick(count)
        if bad:
            more = f"; and {bad - len(problems):,} more like these" if bad > len(problems) else ""
            raise DataError(
                f"{self.name} has {bad:,} rows that cannot be predicted: {'; '.join(problems)}{more}. Fix or remove "
                "them: there is a prediction for every row, in the same order."
            )
        if not count:
            raise DataError(f"{self.name} holds no rows. Name a file with rows.")
        return count

    def rows(self) -> Iterator[InputRow]:
        """The rows of a file that was checked."""
        return (found for found in self._read() if isinstance(found, InputRow))

    def _read(self) -> Iterator[InputRow | str]:
        named = {name: self._columns.get(name, name) for name in (*self._task.columns, *self._task.optional_columns)}
        required = [named[name] for name in self._task.input_columns]
        limits = DataConfig()
        bounds = Limits(limits.max_file_bytes, limits.max_row_bytes)
        for _, parsed in read_files([(self.name, self.path)], bounds, required, set(named.values())):
            errors = [finding.message for finding in parsed.findings if finding.severity == "error"]
            if parsed.value is None:
                if errors:
                    yield self._complaint(parsed.row, errors[0])
                continue
            raw = rename(parsed.value, self._columns)
            yield self._parse(parsed.row, raw)

    def _parse(self, number: int, raw: dict[str, Any]) -> InputRow | str:
        missing = [name for name in self._task.input_columns if name not in raw]
        if missing:
            theirs = ", ".join(self._columns.get(name, name) for name in missing)
            found = ", ".join(printable(name[:40]) for name in list(raw)[:12]) or "none"
            return self._complaint(number, f"column {theirs} is missing, which the model was trained on; found {found}")
        inputs, findings = self._task.parse_input(raw)
        labelled = None
        value = raw.get(self._target)
        if inputs is not None and not is_null(value) and value != "":
            labelled, findings = self._task.parse_row(raw)
            inputs = inputs if labelled is not None else None
        if inputs is None:
            return self._complaint(number, next(each.message for each in findings if each.severity == "error"))
        return InputRow(number, inputs, labelled)

    def _complaint(self, row: int, message: str) -> str:
        return f"row {row}: {message}" if row else message
