"""What the rows of one split teach, in arrays: numbers of labels (4 bytes each), or scores (8 bytes)."""

from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np

from components.core.tasks.seam import Target

Integers = np.ndarray[Any, np.dtype[np.intp]]


class Targets:
    """Targets by position; `add` one for each row, in order."""

    def __init__(self) -> None:
        self.names: list[str] = []
        """Labels by their number in these arrays (not the model's)."""
        self._number_of: dict[str, int] = {}
        self._numbers = array("I")
        self._ends = array("Q")
        self._scores = array("d")

    def add(self, target: Target) -> None:
        """Append what a row teaches; a text is not kept."""
        if isinstance(target, float):
            self._scores.append(target)
        elif target is not None:
            self._numbers.extend(self._number(label) for label in target)
            self._ends.append(len(self._numbers))

    def scores(self, positions: Integers) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """Scores of some rows."""
        return np.frombuffer(self._scores, dtype=np.float64)[positions] if self._scores else np.empty(0)

    def labels(self, positions: Integers) -> tuple[Integers, Integers]:
        """Every label of some rows, repeats included.

        Returns:
            Two arrays of one length: index into `positions`, and number of the label; rows come in their order.
        """
        ends = np.frombuffer(self._ends, dtype=np.uint64).astype(np.intp) if self._ends else np.empty(0, np.intp)
        lengths = np.diff(ends, prepend=0)
        starts = ends - lengths
        taken = lengths[positions]
        rows = np.repeat(np.arange(len(positions)), taken)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(taken) - taken, taken)
        flat = np.frombuffer(self._numbers, dtype=np.uint32) if self._numbers else np.empty(0, np.uint32)
        return rows, flat[np.repeat(starts[positions], taken) + within].astype(np.intp)

    def counts(self, positions: Integers) -> dict[str, int]:
        """How often each label stands in some rows; labels that do not are left out."""
        _, numbers = self.labels(positions)
        counted = np.bincount(numbers, minlength=len(self.names))
        return {name: int(count) for name, count in zip(self.names, counted, strict=True) if count}

    def unlabelled(self, positions: Integers) -> int:
        """Rows without any label."""
        return len(positions) - len(np.unique(self.labels(positions)[0]))

    def first_rows(self, positions: Integers) -> Iterator[tuple[str, int]]:
        """Each label of some rows with the position of the first row that has it."""
        rows, numbers = self.labels(positions)
        found, first = np.unique(numbers, return_index=True)
        for number, index in zip(found, first, strict=True):
            yield self.names[int(number)], int(positions[rows[index]])

    def _number(self, label: str) -> int:
        number = self._number_of.get(label)
        if number is None:
            number = self._number_of[label] = len(self.names)
            self.names.append(label)
        return number
