"""The Arrow files of token ids: one row is one pack."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from components.core.data.packing import pack

_CHUNK_ROWS = 10_000
_CHUNK_TOKENS = 2**25
_SEED = 0


class TokenFile:
    """Writes examples as packs, a chunk at a time, so that memory does not grow with the dataset.

    Columns, all list<int32>: `input_ids`, `labels` and `seq_lengths` (tokens of each example in the pack). The file is
    in Arrow's IPC file format and can be memory-mapped.
    """

    def __init__(self, path: Path, capacity: int, packing: bool) -> None:
        import pyarrow as pa

        self._capacity, self._packing = capacity, packing
        column = pa.list_(pa.int32())
        schema = pa.schema([("input_ids", column), ("labels", column), ("seq_lengths", column)])
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._sink, schema)
        self._schema = schema
        self._ids: list[Any] = []
        self._labels: list[Any] = []
        self._tokens = 0
        self.packs = 0
        """Packs written so far."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            self._flush()
        self._writer.close()
        self._sink.close()

    def add(self, input_ids: Sequence[int], labels: Sequence[int]) -> None:
        """Add one example of 1 to `capacity` tokens."""
        import numpy as np

        # arrays at once: a chunk of Python lists takes ten times the memory and slows the garbage collector
        self._ids.append(np.array(input_ids, dtype=np.int32))
        self._labels.append(np.array(labels, dtype=np.int32))
        self._tokens += len(input_ids)
        if len(self._ids) >= _CHUNK_ROWS or self._tokens >= _CHUNK_TOKENS:
            self._flush()

    def _flush(self) -> None:
        if not self._ids:
            return
        import numpy as np
        import pyarrow as pa

        lengths = [len(ids) for ids in self._ids]
        packs = [[row] for row in range(len(lengths))]
        if self._packing:
            packs = pack(lengths, self._capacity, _SEED + self.packs)
        order = list(chain.from_iterable(packs))
        pack_tokens = [sum(lengths[i] for i in rows) for rows in packs]
        columns = [
            _lists(np.concatenate([self._ids[i] for i in order]), pack_tokens),
            _lists(np.concatenate([self._labels[i] for i in order]), pack_tokens),
            _lists(np.array([lengths[i] for i in order], dtype=np.int32), [len(rows) for rows in packs]),
        ]
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))
        self.packs += len(packs)
        self._ids, self._labels, self._tokens = [], [], 0


def _lists(values: Any, counts: Sequence[int]) -> Any:
    """One list<int32> column with `counts` of the values in each of its rows."""
    import numpy as np
    import pyarrow as pa

    offsets = np.zeros(len(counts) + 1, dtype=np.int32)
    np.cumsum(counts, out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))
