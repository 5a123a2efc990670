"""Tokenized splits on disk: Arrow files of one record for each input of the model, memory-mapped when they are read."""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from components.core.errors import StorageError
from components.core.tasks import HeadTask, Row
from components.core.tasks.heads import EncodedInputs, Head, InputEncoder

NAMED_ROWS = 20
"""Rows named in each list of the report."""


@dataclass
class TokenCounts:
    """What a tokenization gave."""

    rows: int = 0
    inputs: int = 0
    """Inputs of the model: more than rows where long rows of words became several."""
    tokens: int = 0
    longest: int = 0
    """Tokens of the longest input."""
    cut: int = 0
    """Rows that lost a part of their text, because it was longer than `max_seq_length`."""
    lengths: Counter[int] = field(default_factory=Counter)
    """Inputs by their tokens."""
    cut_rows: list[int] = field(default_factory=list)
    """Numbers, from 1, of the first rows that were cut."""
    longest_rows: list[tuple[int, int]] = field(default_factory=list)
    """Tokens, over all its inputs, and number of the longest rows, the longest first."""

    def add(self, encoded: EncodedInputs) -> None:
        """Count the next rows."""
        sizes = [0] * len(encoded.cut)
        for piece in encoded.pieces:
            sizes[piece.row] += len(piece.input_ids)
            self.lengths[len(piece.input_ids)] += 1
        numbers = range(self.rows + 1, self.rows + 1 + len(sizes))
        cut = [number for number, lost in zip(numbers, encoded.cut, strict=True) if lost]
        self.cut_rows += cut[: NAMED_ROWS - len(self.cut_rows)]
        # of rows that are as long, the first
        found = [(tokens, -number) for tokens, number in zip(sizes, numbers, strict=True)]
        known = [(tokens, -number) for tokens, number in self.longest_rows]
        self.longest_rows = [(tokens, -number) for tokens, number in heapq.nlargest(NAMED_ROWS, known + found)]
        self.rows += len(sizes)
        self.inputs += len(encoded.pieces)
        self.tokens += sum(sizes)
        self.longest = max(self.lengths, default=0)
        self.cut += len(cut)

    def numbers(self) -> dict[str, int]:
        """The counts as they stand in `preprocess_args.json`."""
        names = ("rows", "inputs", "tokens", "longest", "cut")
        return {name: getattr(self, name) for name in names}


def count_tokens(rows: Iterable[Row], task: HeadTask, encoder: InputEncoder, batch_size: int) -> TokenCounts:
    """What a tokenization would give, for rows that nothing is learned from."""
    counts = TokenCounts()
    for batch in _batches(rows, batch_size):
        counts.add(task.encode(batch, encoder))
    return counts


def write_tokens(
    path: Path, rows: Iterable[Row], task: HeadTask, head: Head, encoder: InputEncoder, batch_size: int
) -> TokenCounts:
    """Tokenize the rows of a split.

    Columns: `input_ids` list<int32>; `token_type_ids` list<int8>; `labels`, what the loss takes: int64 for a label,
    list<float32> for labels, float32 for a number, list<int64> for tags.

    Args:
        path: Of the Arrow IPC file.
        rows: Canonical rows.
        task: Encodes them.
        head: Names the outputs.
        encoder: Of the model.
        batch_size: Rows that are tokenized at once.

    Raises:
        StorageError: If the file cannot be written.
    """
    import pyarrow as pa

    kinds = {"single_label": pa.int64(), "multi_label": pa.list_(pa.float32()), "regression": pa.float32()}
    labels = kinds.get(head.task, pa.list_(pa.int64()))
    schema = pa.schema(
        [("input_ids", pa.list_(pa.int32())), ("token_type_ids", pa.list_(pa.int8())), ("labels", labels)]
    )
    counts = TokenCounts()
    try:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for batch in _batches(rows, batch_size):
                encoded = task.encode(batch, encoder)
                columns = [
                    [piece.input_ids for piece in encoded.pieces],
                    [piece.token_type_ids for piece in encoded.pieces],
                    [task.learned(batch[piece.row], piece, head) for piece in encoded.pieces],
                ]
                arrays = [pa.array(values, column.type) for values, column in zip(columns, schema, strict=True)]
                writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
                counts.add(encoded)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}. Free some space.") from error
    return counts


def _batches(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    source = iter(rows)
    while batch := list(islice(source, size)):
        yield batch


class TokenTable(Sequence[dict[str, Any]]):
    """A split as a dataset of torch: item n is {"input_ids", "token_type_ids", "labels"} of the n-th input.

    Raises:
        StorageError: If the file is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        try:
            self._table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        except (OSError, pa.ArrowInvalid) as error:
            raise StorageError(f"{path} is missing or damaged ({error}). Run the preprocessing again.") from error
        ids = self._table.column("input_ids")
        offsets = [np.asarray(chunk.offsets) for chunk in ids.chunks]
        self.lengths = np.concatenate([np.diff(each) for each in offsets]) if offsets else np.empty(0, dtype=np.int32)
        """Tokens of each input."""

    def label_shares(self) -> Any:
        """How often each label stands on an input of `multi_label`, strictly between 0 and 1: shape (k,)."""
        chunks = self._table.column("labels").chunks
        counts = sum(each.flatten().to_numpy().reshape(len(each), -1).sum(axis=0, dtype=np.float64) for each in chunks)
        return (counts + 0.5) / (len(self) + 1)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, place: Any) -> Any:
        if not isinstance(place, int | np.integer):
            raise TypeError("an input is named by its number")
        return {name: self._table.column(name)[int(place)].as_py() for name in self._table.column_names}
