"""The good rows of one split on disk, with 60-odd bytes per row in memory: hashes, positions, lengths."""

import json
import mmap
from array import array
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from components.core.data.contract.targets import Targets
from components.core.tasks.seam import Row, RowContract

GROUP_COLUMN = "context"
"""Rows that share this text stay in one split when splits are cut."""
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def encode_row(row: Row) -> bytes:
    """A canonical row as one line of JSON, UTF-8, ending in LF.

    Raises:
        ValueError: If a number is not finite or a text cannot be written as UTF-8.
        TypeError: If a value has no JSON form.
    """
    return _ENCODER.encode(row).encode() + b"\n"


def hash64(text: str) -> int:
    """64 bits of a text, the same in every process."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


class Spool:
    """Rows in the order in which they were read; `add` them, then `close`, then read them by position."""

    def __init__(self, path: Path, task: RowContract) -> None:
        self._task = task
        self._file = path.open("w+b")
        self._map: mmap.mmap | None = None
        self._offset = 0
        self._offsets = array("Q", [0])
        self._columns: dict[str, array[int]] = {name: array("Q") for name in ("key", "answer", "id", "group", "row")}
        self._files = array("H")
        self._given_id = array("B")
        self.file_names: list[str] = []
        self.lengths: dict[str, tuple[array[int], array[int]]] = {}
        """Characters and words of each text column, by row."""
        self.targets = Targets()
        """What each row teaches."""
        self.renamed: dict[int, str] = {}
        """Suffix that makes a generated id unique, by position."""

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def add(self, row: Row, line: bytes, file: str, number: int, given_id: bool) -> None:
        """Append a row, whose encoded form is `line`."""
        self._file.write(line)
        self._offset += len(line)
        self._offsets.append(self._offset)
        key = self._task.row_key(row)
        group = row.get(GROUP_COLUMN)
        columns = self._columns
        columns["key"].append(hash64(key))
        columns["answer"].append(hash64(self._task.row_answer(row)))
        # a row without an id repeats nobody's; no id starts with a line break
        columns["id"].append(hash64(str(row.get("id", f"\n{len(self)}"))))
        columns["group"].append(hash64(group) if isinstance(group, str) else columns["key"][-1])
        columns["row"].append(number)
        self._given_id.append(given_id)
        if not self.file_names or self.file_names[-1] != file:
            self.file_names.append(file)
        self._files.append(len(self.file_names) - 1)
        self.targets.add(self._task.row_target(row))
        self._measure(row)

    def close(self) -> None:
        """End the writing."""
        self._file.flush()
        if self._offset:
            self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)

    def release(self) -> None:
        """Give the file back."""
        if self._map is not None:
            self._map.close()
        self._file.close()

    def line(self, position: int) -> bytes:
        """The row at a position as it goes into the output."""
        assert self._map is not None  # only an empty spool has no map, and it has no positions
        line = self._map[self._offsets[position] : self._offsets[position + 1]]
        suffix = self.renamed.get(position)
        if suffix is None:
            return line
        row = json.loads(line)
        return encode_row(row | {"id": f"{row['id']}{suffix}"})

    def row(self, position: int) -> Row:
        """The row at a position."""
        row: Row = json.loads(self.line(position))
        return row

    def where(self, position: int) -> tuple[str, int]:
        """File and row number in it."""
        return self.file_names[self._files[position]], self._columns["row"][position]

    def hashes(self, name: str) -> "np.ndarray[Any, np.dtype[np.uint64]]":
        """The 64-bit hashes `key`, `answer`, `id` or `group` of all rows."""
        return np.frombuffer(self._columns[name], dtype=np.uint64) if len(self) else np.empty(0, np.uint64)

    def given_id(self, position: int) -> bool:
        """True when the id stood in the dataset."""
        return bool(self._given_id[position])

    def _measure(self, row: Row) -> None:
        for name in self._task.text_columns:
            text = text_of(row.get(name))
            characters, words = self.lengths.setdefault(name, (array("I"), array("I")))
            characters.append(len(text))
            words.append(len(text.split()))


def text_of(value: Any) -> str:
    """The text in a value: itself, its words or messages, or the first of its `text` list (no answer is empty)."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return " ".join(str(item.get("content", "")) if isinstance(item, dict) else str(item) for item in value)
    if isinstance(value, dict):
        texts = value.get("text")
        return str(texts[0]) if isinstance(texts, list) and texts else ""
    return ""
