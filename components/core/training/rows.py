"""Tokenized rows, read from Arrow packs without copying them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.errors import StorageError

HIDDEN = -100
"""Label of a token that carries no loss."""
_COLUMNS = ("input_ids", "labels", "seq_lengths")


@dataclass(frozen=True)
class TokenRows:
    """Rows of all packs of one file; rows without a single token to learn are left out.

    The token ids stay in the memory-mapped file. All index arrays have one entry per row.
    """

    chunks: list[tuple[Any, Any]]
    """Token ids and labels (int32 arrays) of each record batch, its packs laid end to end."""
    chunk: Any
    """Which chunk a row lies in."""
    start: Any
    """First token of the row in its chunk."""
    lengths: Any
    """Tokens of the row."""
    targets: Any
    """Tokens of the row that carry loss; the first token never does, since nothing predicts it."""
    left_out: int
    """Rows of the file that teach nothing."""

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def longest(self) -> int:
        """Tokens of the longest row; 0 where there is none."""
        return int(self.lengths.max(initial=0))

    @property
    def largest_id(self) -> int:
        """Largest token id of the file; -1 where there is none."""
        return max((int(ids.max(initial=-1)) for ids, _ in self.chunks), default=-1)

    def row(self, number: int) -> tuple[Any, Any]:
        """Token ids and labels of one row, each of the row's length."""
        ids, labels = self.chunks[self.chunk[number]]
        window = slice(self.start[number], self.start[number] + self.lengths[number])
        return ids[window], labels[window]


def read_rows(path: Path) -> TokenRows:
    """Open a file of packs (Arrow IPC file format: input_ids, labels and seq_lengths, all list<int32>).

    Raises:
        StorageError: If the file is missing or is not such a file.
    """
    import numpy as np
    import pyarrow as pa

    chunks: list[tuple[Any, Any]] = []
    parts: list[tuple[Any, ...]] = []
    left_out = 0
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        for number, batch in enumerate(table.to_batches()):
            ids, labels, lengths = (_flat(batch.column(name)) for name in _COLUMNS)
            _check_packs(path, batch, ids, labels, lengths)
            starts = np.cumsum(lengths) - lengths
            learned = labels != HIDDEN
            learned[starts[lengths > 0]] = False
            before = np.concatenate([[0], np.cumsum(learned, dtype=np.int64)])
            targets = before[starts + lengths] - before[starts]
            kept = targets > 0
            left_out += int((~kept).sum())
            chunks.append((ids, labels))
            parts.append((np.full(kept.sum(), number), starts[kept], lengths[kept].astype(np.int64), targets[kept]))
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        message = " ".join(str(error).split())
        raise StorageError(f"{path} is missing or not a file of tokens ({message}). Tokenize again.") from error
    empty = np.zeros(0, np.int64)
    chunk, start, length, target = (
        [np.concatenate(column) for column in zip(*parts, strict=True)] if parts else [empty] * 4
    )
    return TokenRows(chunks, chunk, start, length, target, left_out)


def _flat(column: Any) -> Any:
    """Values of a list column, end to end."""
    return column.flatten().to_numpy()


def _check_packs(path: Path, batch: Any, ids: Any, labels: Any, lengths: Any) -> None:
    import numpy as np
    import pyarrow.compute as pc

    packs, ids_per_pack = batch.num_rows, pc.list_value_length(batch.column("input_ids")).to_numpy()
    rows_per_pack = pc.list_value_length(batch.column("seq_lengths")).to_numpy()
    ends = np.concatenate([[0], np.cumsum(lengths)])[np.cumsum(rows_per_pack)]
    if len(ids) != len(labels) or (packs and not np.array_equal(ends, np.cumsum(ids_per_pack))):
        raise StorageError(f"{path}: labels or seq_lengths of a pack do not match its input_ids. Tokenize again.")
