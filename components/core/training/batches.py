"""Which rows make up a step, and how they are laid out for the hardware.

A step's rows are drawn at random; only inside the step are they sorted by length and cut into pieces of little padding.
The gradient is the same as that of one large batch, so padding is a matter of speed and never of what is learned.
"""

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from components.core.recipe import TrainingConfig
from components.core.training.rows import HIDDEN, TokenRows

Layout = Literal["padded", "flat"]
"""`padded`: rows of like length side by side, filled up at their end. `flat`: rows end to end with their positions."""

PIECE_COST_TOKENS = 96
"""What starting one more piece costs, in tokens of padding that would take as long."""


@dataclass(frozen=True)
class Plan:
    """All batches of a run in their order, for all epochs."""

    order: Any
    """Row numbers, one epoch after the other."""
    bounds: Any
    """Batch i holds order[bounds[i]:bounds[i + 1]]."""
    rows: int
    """Rows of one epoch."""
    batches_per_step: int

    @property
    def batches(self) -> int:
        """Batches of the whole run."""
        return len(self.bounds) - 1

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return math.ceil(self.batches / self.batches_per_step)

    def epoch_after(self, step: int) -> float:
        """Passes over the rows that are done after so many steps."""
        return float(self.bounds[min(step * self.batches_per_step, self.batches)]) / self.rows

    def batch(self, number: int) -> Any:
        """Row numbers of one batch."""
        return self.order[self.bounds[number] : self.bounds[number + 1]]


def plan_batches(lengths: Any, training: TrainingConfig) -> Plan:
    """Draw the order of every epoch from the seed and cut it into batches.

    Batches hold `per_device_train_batch_size` rows, or about `tokens_per_batch` tokens: an epoch is cut into equal
    shares, each off by half a row at most, so that no epoch ends in a batch of a few stray rows.
    """
    import numpy as np

    wanted = training.max_steps * training.gradient_accumulation_steps if training.max_steps > 0 else None
    orders, bounds, done = [], [np.zeros(1, np.int64)], 0
    epoch, batches = 0, 0
    while batches < wanted if wanted else epoch < training.num_train_epochs:
        order = np.random.default_rng([training.seed, epoch]).permutation(len(lengths))
        if not wanted and training.num_train_epochs - epoch < 1:
            order = order[: max(1, round((training.num_train_epochs - epoch) * len(order)))]
        ends = _batch_ends(lengths[order], training)
        if wanted:
            ends = ends[: wanted - batches]
            order = order[: ends[-1]]
        orders.append(order)
        bounds.append(done + ends)
        done, batches, epoch = done + len(order), batches + len(ends), epoch + 1
    return Plan(np.concatenate(orders), np.concatenate(bounds), len(lengths), training.gradient_accumulation_steps)


def _batch_ends(lengths: Any, training: TrainingConfig) -> Any:
    """Where each batch ends, in rows; the last end is the number of rows."""
    import numpy as np

    rows = len(lengths)
    if training.per_device_train_batch_size is not None:
        return np.minimum(np.arange(1, math.ceil(rows / training.per_device_train_batch_size) + 1)
                          * training.per_device_train_batch_size, rows)  # fmt: skip
    filled = np.cumsum(lengths)
    count = math.ceil(filled[-1] / training.tokens_per_batch)
    middle_of_row = filled - lengths / 2
    ends = np.searchsorted(middle_of_row, filled[-1] * np.arange(1, count) / count)
    return np.unique(np.concatenate([ends[ends > 0], [rows]]))


def share_rows(lengths: Sequence[int], processes: int) -> list[list[int]]:
    """Divide the rows of a batch over processes, so that each has about as many tokens.

    Args:
        lengths: Tokens of each row.
        processes: How many there are.

    Returns:
        Positions in `lengths` for each process; a process may get none.
    """
    shares: list[list[int]] = [[] for _ in range(processes)]
    filled = [(0, process) for process in range(processes)]
    # the longest first, each to whoever has least
    for position in sorted(range(len(lengths)), key=lambda position: -lengths[position]):
        tokens, process = heapq.heappop(filled)
        shares[process].append(position)
        heapq.heappush(filled, (tokens + int(lengths[position]), process))
    return [sorted(share) for share in shares]


def empty_piece() -> dict[str, Any]:
    """One position without a label: all gradients are zero, so a process without rows can take part in a step."""
    import torch

    place = torch.zeros((1, 1), dtype=torch.int64)
    return {"input_ids": place, "logits_to_keep": place.bool(), "targets": place[0, :0]}


def fill_up(pieces: list[dict[str, Any]], wanted: int) -> list[dict[str, Any]]:
    """Pieces, and as many empty ones as are missing."""
    return pieces + [empty_piece() for _ in range(wanted - len(pieces))]


def split_rows(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Cut rows into pieces of like length with the least padding.

    Args:
        lengths: Tokens of each row.
        capacity: Most tokens of a piece, padding counted; a longer row gets a piece of its own.

    Returns:
        Positions in `lengths`, piece by piece; each piece from the longest row to the shortest.
    """
    import numpy as np

    sizes = np.asarray(lengths)
    order = np.argsort(-sizes, kind="stable")
    sizes = sizes[order]
    # cheapest[n]: least cost of the n longest rows; cut[n]: where the last piece of that solution begins
    cheapest, cut = np.zeros(len(order) + 1, np.int64), np.zeros(len(order) + 1, np.int64)
    for end in range(1, len(order) + 1):
        padded = (end - np.arange(end)) * sizes[:end]
        # sizes of pieces only grow towards the longer rows, so those that fit are the last ones
        first = min(int(np.searchsorted(-padded, -capacity)), end - 1)
        cost = cheapest[first:end] + padded[first:]
        cut[end] = first + int(cost.argmin())
        cheapest[end] = cost.min() + PIECE_COST_TOKENS
    pieces: list[list[int]] = []
    end = len(order)
    while end:
        pieces.append(order[cut[end] : end].tolist())
        end = int(cut[end])
    return pieces[::-1]


def build_pieces(rows: TokenRows, numbers: Sequence[int], capacity: int, layout: Layout) -> Iterator[dict[str, Any]]:
    """Lay rows out as model inputs: input_ids, logits_to_keep, targets, and position_ids when flat.

    The last token of a row is only ever predicted, so it is a target but no input. `logits_to_keep` (bool, shape of
    input_ids) marks the positions that predict a label, and `targets` holds their labels in the same order.
    """
    for piece in _cut(rows, numbers, capacity, layout):
        lay_out = _padded if layout == "padded" else _flat
        yield lay_out([rows.row(numbers[position]) for position in piece])


def count_pieces(rows: TokenRows, numbers: Sequence[int], capacity: int, layout: Layout) -> int:
    """How many pieces `build_pieces` makes of rows; at least the one that a process without rows takes part with."""
    return max(1, len(_cut(rows, numbers, capacity, layout)))


def _cut(rows: TokenRows, numbers: Sequence[int], capacity: int, layout: Layout) -> list[list[int]]:
    """Positions in `numbers`, piece by piece."""
    lengths = [int(rows.lengths[number]) - 1 for number in numbers]
    if layout == "padded":
        return split_rows(lengths, capacity)
    pieces: list[list[int]] = []
    filled = 0
    for position, length in enumerate(lengths):
        if not pieces or (filled and filled + length > capacity):
            pieces.append([])
            filled = 0
        pieces[-1].append(position)
        filled += length
    return pieces


def _padded(rows: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
    """Rows side by side, the longest first. Causal attention never looks at the padding behind a row: no mask."""
    import numpy as np
    import torch

    shape = (len(rows), len(rows[0][0]) - 1)
    input_ids, labels = np.zeros(shape, np.int64), np.full(shape, HIDDEN, np.int64)
    for line, (ids, row_labels) in enumerate(rows):
        input_ids[line, : len(ids) - 1] = ids[:-1]
        labels[line, : len(ids) - 1] = row_labels[1:]
    keep = labels != HIDDEN
    return {
        "input_ids": torch.from_numpy(input_ids),
        "logits_to_keep": torch.from_numpy(keep),
        "targets": torch.from_numpy(labels[keep]),
    }


def _flat(rows: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
    """Rows end to end; positions that begin again tell the attention where a row begins."""
    import numpy as np
    import torch

    labels = np.concatenate([row_labels[1:] for _, row_labels in rows]).astype(np.int64)
    keep = labels != HIDDEN
    return {
        "input_ids": torch.from_numpy(np.concatenate([ids[:-1] for ids, _ in rows]).astype(np.int64))[None],
        "position_ids": torch.from_numpy(np.concatenate([np.arange(len(ids) - 1) for ids, _ in rows]))[None],
        "logits_to_keep": torch.from_numpy(keep)[None],
        "targets": torch.from_numpy(labels[keep]),
    }
