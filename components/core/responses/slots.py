"""Keys and values of the rows that are being answered: each row has a slot, which the next one takes over.

All rows end at the same column, where the next token goes; a shorter row begins further right. So one forward advances
all of them, a row joins by writing its prompt's keys and values left of that column, and nothing is copied for the
others. A row that left is overwritten by the last one, so that the rows in use are always the first.
"""

from collections.abc import Sequence
from typing import Any

SPARE_COLUMNS = 128
"""Columns beyond the longest row: so many tokens are generated between two moves of the whole memory."""


class Slots:
    """The memory of a number of rows, as a cache that transformers models write into.

    Args:
        layers: Keys and values of one prompt by layer, each of shape (prompts, heads, tokens, size).
        rows: How many fit.
        longest: Tokens of the longest prompt with its answer.
    """

    def __init__(self, layers: Sequence[tuple[Any, Any]], rows: int, longest: int) -> None:
        import torch

        self.capacity = longest + SPARE_COLUMNS
        self.start = self.end = 0
        """First column in use, and the one where the next token goes."""
        self.lengths: list[int] = []
        """Tokens of each row."""
        device = layers[0][0].device
        self.mask = torch.zeros(rows, self.capacity, dtype=torch.long, device=device)
        self._stores = [
            [store.new_zeros(rows, store.shape[1], self.capacity, store.shape[3]) for store in pair] for pair in layers
        ]
        self.cache = _as_cache(self)

    @property
    def rows(self) -> int:
        """Rows in use."""
        return len(self.lengths)

    def join(self, layers: Sequence[tuple[Any, Any]], copies: int) -> None:
        """Let a prompt join so many times.

        Args:
            layers: Its keys and values, by layer, of shape (heads, tokens, size).
            copies: Rows that go on from it, each on its own.
        """
        length = layers[0][0].shape[-2]
        if self.end < length:
            self._move(length)
        rows = slice(self.rows, self.rows + copies)
        columns = slice(self.end - length, self.end)
        for stores, pair in zip(self._stores, layers, strict=True):
            for store, new in zip(stores, pair, strict=True):
                store[rows, :, columns] = new
        self.mask[rows] = 0
        self.mask[rows, columns] = 1
        self.lengths += [length] * copies
        self._trim()

    def leave(self, row: int) -> None:
        """Take a row out; the last one moves into its place."""
        last = self.rows - 1
        columns = slice(self.start, self.end)
        if row != last:
            for store in (store for stores in self._stores for store in stores):
                store[row, :, columns] = store[last, :, columns]
            self.mask[row] = self.mask[last]
            self.lengths[row] = self.lengths[last]
        self.lengths.pop()
        self._trim()

    def inputs(self) -> dict[str, Any]:
        """What the model needs beside the tokens to advance every row by one."""
        import torch

        if self.end == self.capacity:
            self._move(self.end - self.start)
        self.mask[: self.rows, self.end] = 1
        return {
            "attention_mask": self.mask[: self.rows, self.start : self.end + 1],
            "position_ids": torch.tensor(self.lengths, device=self.mask.device)[:, None],
            "past_key_values": self.cache,
        }

    def advanced(self) -> None:
        """Note that every row has one more token."""
        self.end += 1
        self.lengths = [length + 1 for length in self.lengths]

    def write(self, layer: int, keys: Any, values: Any) -> tuple[Any, Any]:
        """Put one token of each row there and give back all that the rows have."""
        found = []
        for store, new in zip(self._stores[layer], (keys, values), strict=True):
            store[: new.shape[0], :, self.end : self.end + 1] = new
            found.append(store[: new.shape[0], :, self.start : self.end + 1])
        return found[0], found[1]

    def _trim(self) -> None:
        self.start = self.end - max(self.lengths, default=0)

    def _move(self, end: int) -> None:
        """Let the columns in use end elsewhere."""
        old, new = slice(self.start, self.end), slice(end - (self.end - self.start), end)
        for store in (store for stores in self._stores for store in stores):
            store[: self.rows, :, new] = store[: self.rows, :, old].clone()
        moved = self.mask[: self.rows, old].clone()
        self.mask[: self.rows] = 0
        self.mask[: self.rows, new] = moved
        self.start, self.end = new.start, new.stop


def _as_cache(slots: Slots) -> Any:
    from transformers.cache_utils import Cache, DynamicLayer

    class SlotLayer(DynamicLayer):  # type: ignore[misc]
        """One layer's share, as the models know it."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number
            self.is_initialized = True

        def update(self, key_states: Any, value_states: Any, *_args: Any, **_options: Any) -> tuple[Any, Any]:
            """Take one token of each row in."""
            return slots.write(self.number, key_states, value_states)

        def get_seq_length(self) -> int:
            """Columns in use."""
            return slots.end - slots.start

    return Cache(layers=[SlotLayer(number) for number in range(len(slots._stores))])
