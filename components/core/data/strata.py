"""Stratified cuts: a new split shows labels, entity types or scores in the proportions of the rows it is cut from."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.core.data.contract.targets import Integers, Targets
from components.core.tasks.seam import TargetKind

_SCORE_BINS = 10
_BY = {
    "label": "by label",
    "labels": "by each row's rarest label",
    "entities": "by each row's rarest entity type",
    "score": f"by score in {_SCORE_BINS} quantile bins",
}


@dataclass(frozen=True)
class Strata:
    """Rows sorted into strata."""

    by: str
    """What they are sorted by, for the report."""
    of_row: Integers
    """Stratum of each row; the lowest is the rarest."""
    labels: tuple[Integers, Integers]
    """Every label as row and number; empty where a score is learned."""


def stratify(targets: Targets, positions: Integers, kind: TargetKind) -> Strata | None:
    """Sort rows by what they teach; None where that is a text."""
    if kind == "answer":
        return None
    if kind == "score":
        scores = targets.scores(positions)
        edges = np.unique(np.quantile(scores, np.arange(1, _SCORE_BINS) / _SCORE_BINS))
        nothing = np.empty(0, dtype=np.intp)
        return Strata(_BY[kind], np.searchsorted(edges, scores, side="right"), (nothing, nothing))
    rows, numbers = targets.labels(positions)
    counts = np.bincount(numbers, minlength=len(targets.names))
    # equally rare labels go by name, because the numbers follow the order of the rows
    order = sorted(range(len(counts)), key=lambda number: (counts[number], targets.names[number]))
    rank = np.empty(len(counts), dtype=np.intp)
    rank[order] = np.arange(len(counts))
    of_row = np.full(len(positions), len(counts), dtype=np.intp)  # rows without a label come last
    np.minimum.at(of_row, rows, rank[numbers])
    return Strata(_BY[kind], of_row, (rows, numbers))


def cut_strata(
    strata: Strata, groups: "np.ndarray[Any, Any]", wanted: Sequence[int], rng: np.random.Generator
) -> list[Integers] | None:
    """Rows of each new split; rows of one group stay together.

    Strata are taken from the rarest on, each in random order. A new split gets its share of each, rounded so that the
    sums come out right; one group of each stratum, and one row of each label, always stays. Small strata would leave a
    split short, so the largest then fill it up.

    Returns:
        Indices of rows by new split; None if one of the splits would stay empty.
    """
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    stratum = np.full(len(sizes), np.iinfo(np.intp).max, dtype=np.intp)
    np.minimum.at(stratum, member, strata.of_row)
    order = rng.permutation(len(sizes))
    order = order[np.argsort(stratum[order], kind="stable")]
    blocks = np.split(order, np.flatnonzero(np.diff(stratum[order])) + 1)
    home = _Homes(sizes, wanted, len(groups))
    left = [home.take(block) for block in blocks]
    home.fill(left)
    rows, numbers = strata.labels
    learned = np.unique(numbers[home.of_group[member[rows]] == 0])
    for number in np.setdiff1d(numbers, learned):
        home.of_group[member[rows[np.argmax(numbers == number)]]] = 0
    homes = home.of_group[member]
    parts = [rng.permutation(np.flatnonzero(homes == number)) for number in range(1, len(wanted) + 1)]
    return parts if all(len(part) for part in parts) else None


class _Homes:
    """Where each group goes: 0 stays, else the number of the new split."""

    def __init__(self, sizes: Integers, wanted: Sequence[int], rows: int) -> None:
        self.of_group = np.zeros(len(sizes), dtype=np.int8)
        self._sizes = sizes
        self._wanted = wanted
        self._rows = rows
        self._given = [0] * len(wanted)
        self._seen = 0

    def take(self, block: Integers) -> list[int]:
        """Give each new split its share of one stratum; returns the groups that stay."""
        left = [int(group) for group in block]
        size = int(self._sizes[block].sum())
        self._seen += size
        for number, wanted in enumerate(self._wanted):
            share = wanted / self._rows
            due = round(share * self._seen) - self._given[number]
            # what one-example strata could not give must not all come from the next small one
            self._move(left, number, min(due, int(np.ceil(share * size))))
        return left

    def fill(self, left: Sequence[list[int]]) -> None:
        """Fill up splits that are short, a group at a time from the stratum with the most left."""
        for number, wanted in enumerate(self._wanted):
            largest = [(-len(groups), index) for index, groups in enumerate(left) if len(groups) > 1]
            heapq.heapify(largest)
            while largest and self._given[number] < wanted:
                _, index = heapq.heappop(largest)
                if self._move(left[index], number, wanted - self._given[number], most=1):
                    heapq.heappush(largest, (-len(left[index]), index))

    def _move(self, left: list[int], number: int, room: int, most: int | None = None) -> int:
        moved = 0
        index = len(left) - 1
        while index >= 0 and room > 0 and len(left) > 1 and moved != most:
            size = int(self._sizes[left[index]])
            if size <= room:
                self.of_group[left.pop(index)] = number + 1
                self._given[number] += size
                room -= size
                moved += 1
            index -= 1
        return moved
