"""Tokenized splits on disk: Arrow files of one record for each input of the model, memory-mapped when they are read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from components.core.errors import StorageError
from components.core.tasks import HeadTask, Row
from components.core.tasks.heads import Head, InputEncoder


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
    """
    import pyarrow as pa

    kinds = {"single_label": pa.int64(), "multi_label": pa.list_(pa.float32()), "regression": pa.float32()}
    labels = kinds.get(head.task, pa.list_(pa.int64()))
    schema = pa.schema(
        [("input_ids", pa.list_(pa.int32())), ("token_type_ids", pa.list_(pa.int8())), ("labels", labels)]
    )
    counts = TokenCounts()
    source = iter(rows)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        while batch := list(islice(source, batch_size)):
            encoded = task.encode(batch, encoder)
            columns = [
                [piece.input_ids for piece in encoded.pieces],
                [piece.token_type_ids for piece in encoded.pieces],
                [task.learned(batch[piece.row], piece, head) for piece in encoded.pieces],
            ]
            arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
            lengths = [len(ids) for ids in columns[0]]
            counts.rows += len(batch)
            counts.inputs += len(lengths)
            counts.tokens += sum(lengths)
            counts.longest = max(counts.longest, *lengths)
            counts.cut += sum(encoded.cut)
    return counts


class TokenTable(Sequence[dict[str, Any]]):
    """A split as a dataset of torch: item n is {"input_ids", "token_type_ids", "labels"} of the n-th input.

    Raises:
        StorageError: If the file is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow as pa

        try:
            self._table = pa.ipc.open_file(pa.memory_map(str(path))).read_all().combine_chunks()
        except (OSError, pa.ArrowInvalid) as error:
            raise StorageError(f"{path} is missing or damaged ({error}). Run the preprocessing again.") from error
        ids = self._table.column("input_ids")
        offsets = [np.asarray(chunk.offsets) for chunk in ids.chunks]
        self.lengths = np.concatenate([np.diff(each) for each in offsets]) if offsets else np.empty(0, dtype=np.int32)
        """Tokens of each input."""

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, place: Any) -> Any:
        if not isinstance(place, int | np.integer):
            raise TypeError("an input is named by its number")
        return {name: self._table.column(name)[int(place)].as_py() for name in self._table.column_names}
