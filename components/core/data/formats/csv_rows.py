"""Rows of CSV and TSV files: quoting is strict, nothing but an empty cell is missing, and every row keeps its line."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from components.core.data.formats.lines import Stream, open_bytes, read_lines
from components.core.data.formats.parsed import BrokenFile, Limits, Parsed, bad_row, remark
from components.core.data.naming import missing_columns_message

_TRUTH = {"true": True, "false": False}


def read_delimited(path: Path, limits: Limits, delimiter: str, columns: Sequence[str]) -> Iterator[Parsed]:
    """Rows of a file with a header; a line number is the one on which the row starts.

    Args:
        path: The file.
        limits: Sizes that are refused.
        delimiter: What the file's name says; a .csv whose header has tabs or semicolons and no comma is read
            with those, with a remark.
        columns: The dataset's names of the required columns, for the complaint about a missing header.
    """
    with open_bytes(path, limits) as stream:
        head = stream.peek(65536).split(b"\n", 1)[0]
        for other, name in (("\t", "tab"), (";", "semicolon")):
            if delimiter == "," and b"," not in head and other.encode() in head:
                delimiter = other
                yield remark(
                    0, f"{name}s_in_csv", f"the header has {name}s and no comma; read with {name}s between cells"
                )
        yield from _Table(stream, limits, delimiter, columns).rows()


class _Table:
    """One pass over a delimited file."""

    def __init__(self, stream: Stream, limits: Limits, delimiter: str, columns: Sequence[str]) -> None:
        self._stream = stream
        self._limits = limits
        self._columns = columns
        self._line = 0
        self._start = 1
        # the module's default of 131072 characters is smaller than a row may be
        csv.field_size_limit(max(csv.field_size_limit(), limits.row_bytes))
        self._reader = csv.reader(self._lines(), delimiter=delimiter, strict=True)

    def rows(self) -> Iterator[Parsed]:
        header: list[str] | None = None
        while True:
            self._start = self._line + 1
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield self._explain(str(error))
                continue
            if not any(cells) and len(cells) < 2:
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                self._check(header)
            elif len(cells) != len(header):
                message = f"{len(cells)} cells, expected {len(header)} as in the header"
                yield bad_row(self._start, "wrong_cell_count", message)
            else:
                yield Parsed(self._start, {name: _value(name, cell) for name, cell in zip(header, cells, strict=True)})

    def _lines(self) -> Iterator[str]:
        for number, line in read_lines(self._stream, self._limits.row_bytes):
            self._line = number
            if line is None:
                raise BrokenFile(
                    "row_too_long", f"longer than {self._limits.row_bytes:,} bytes (data.max_row_bytes)", number
                )
            if b"\x00" in line:
                raise BrokenFile("nul_bytes", "holds NUL bytes: the file is damaged; copy it again", number)
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise BrokenFile(
                    "not_utf8", f"not UTF-8 at byte {error.start} of the line; save the file as UTF-8", number
                ) from error

    def _check(self, header: list[str]) -> None:
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            raise BrokenFile(
                "duplicate_key", f"the header names {', '.join(map(repr, twice))[:200]} twice", self._start
            )
        if self._columns and not set(header) & set(self._columns):
            message = missing_columns_message(list(self._columns), self._columns, header)
            raise BrokenFile("missing_column", f"{message}. If this line is the first row, add a header", self._start)

    def _explain(self, reason: str) -> Parsed:
        if "unexpected end of data" in reason:
            return bad_row(
                self._start, "unclosed_quote", "a quote opens in this row and is never closed; close it or double it"
            )
        if "field larger" in reason:
            return bad_row(
                self._start, "row_too_long", "a cell is longer than data.max_row_bytes; is a quote never closed?"
            )
        return bad_row(self._start, "invalid_csv", f"not valid CSV ({reason}); a quote inside a cell must be doubled")


def _value(name: str, cell: str) -> Any:
    """CSV has no types: an empty cell is null, and JSON in `answers` is read; tasks read other lists themselves."""
    if not cell:
        return None
    if name == "answers" and cell[0] in "[{" and cell[-1] in "]}":
        try:
            return json.loads(cell)
        except (ValueError, RecursionError):
            return cell
    return _TRUTH.get(cell.lower(), cell) if name == "is_impossible" else cell
