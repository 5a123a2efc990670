"""What the metrics of labels share: hits, misses and the table that has one line for each label."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Values = dict[str, float | None]
"""Metric by name; None where it is not defined, and then the reason is kept beside it."""

NO_ROWS = "there are no rows"


@dataclass(frozen=True)
class LabelScore:
    """One label: precision, recall and F1 are 0 to 1, and 0 where their denominator is 0."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    """Rows (or entities) that have the label."""
    predicted: int
    """Rows (or entities) that were given the label."""


@dataclass(frozen=True)
class Hits:
    """How often each of k labels was right, wanted and given."""

    right: Counts
    support: Counts
    predicted: Counts

    def __add__(self, other: "Hits") -> "Hits":
        return Hits(self.right + other.right, self.support + other.support, self.predicted + other.predicted)

    def total(self) -> "Hits":
        """All labels as one, for micro averages."""
        return Hits(*(counts.sum(keepdims=True) for counts in (self.right, self.support, self.predicted)))

    def scores(self, otherwise: float = 0.0) -> tuple[Floats, Floats, Floats]:
        """Precision, recall and F1 of each label; `otherwise` stands where a denominator is 0."""
        return (
            divide(self.right, self.predicted, otherwise),
            divide(self.right, self.support, otherwise),
            divide(2 * self.right, self.support + self.predicted, otherwise),
        )

    def table(self, labels: Sequence[str]) -> list[LabelScore]:
        """One line for each label."""
        columns = [*self.scores(), self.support, self.predicted]
        return [LabelScore(label, *row) for label, *row in zip(labels, *(c.tolist() for c in columns), strict=True)]


def divide(numerator: npt.NDArray[Any], denominator: npt.NDArray[Any], otherwise: float = 0.0) -> Floats:
    """Quotients, and `otherwise` where the denominator is 0."""
    filled = np.full(np.shape(denominator), otherwise, dtype=np.float64)
    np.divide(numerator, denominator, out=filled, where=denominator != 0)
    return filled


def all_labels(known: Sequence[str], *used: Iterable[str]) -> list[str]:
    """The model's labels in its order, then those that it never saw, sorted."""
    return [*known, *sorted(set().union(*used) - set(known))]


def average_ranks(values: npt.NDArray[Any]) -> Floats:
    """Rank of each value from 1; equal values share the mean of their ranks."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return ranks


def undefined(names: Iterable[str], reason: str) -> tuple[Values, dict[str, str]]:
    """The metrics `names` as undefined, each for the same reason."""
    listed = list(names)
    return dict.fromkeys(listed), dict.fromkeys(listed, reason)
