"""Bootstrap intervals of mean scores: numpy only, seeded.

All columns are resampled together, so an interval of a difference is a paired one: give the difference as a column.
Rows that share a context rise and fall together; they are drawn as one group, else intervals come out too narrow.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MIN_GROUPS = 10
"""Below this many different contexts, resampling contexts says too little and rows are resampled instead."""

_CHUNK_VALUES = 4_000_000

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean and the bounds of its percentile interval."""

    value: float
    low: float
    high: float


def fewest_changes(confidence: float) -> int:
    """Rows that must change, all in one direction, before chance is an unlikely explanation (two-sided sign test).

    A percentile bootstrap alone calls four changed rows of a thousand significant; at 95 % the sign test asks for six.
    """
    return math.ceil(math.log2(2 / (1 - confidence)))


def group_numbers(keys: Sequence[str]) -> npt.NDArray[np.intp]:
    """Number rows by the group that they are drawn with: their key, or each its own when there are too few keys."""
    seen: dict[str, int] = {}
    numbers = [seen.setdefault(key, len(seen)) for key in keys]
    return np.asarray(numbers if len(seen) >= MIN_GROUPS else range(len(keys)), dtype=np.intp)


def estimate_means(
    values: Matrix, groups: npt.NDArray[np.intp], samples: int, confidence: float, seed: int
) -> list[Estimate]:
    """Mean and percentile interval of each column.

    Args:
        values: One row per example, one column per score, shape (n, k), n >= 1.
        groups: Group of each row, numbered from 0, length n.
        samples: Number of resamples.
        confidence: Coverage of the interval, 0 to 1.
        seed: Seed of the resampling.
    """
    sizes = np.bincount(groups).astype(np.float64)
    resampled = resample_totals(np.column_stack([sum_groups(values, groups), sizes]), samples, seed)
    means = resampled[:, :-1] / resampled[:, -1:]
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return [
        Estimate(float(value), float(bottom), float(top))
        for value, bottom, top in zip(values.mean(axis=0), low, high, strict=True)
    ]


def count_changed(differences: npt.NDArray[np.float64], groups: npt.NDArray[np.intp]) -> int:
    """Groups whose total moved; gains and losses that cancel out within a group do not count."""
    return int(np.count_nonzero(np.abs(np.bincount(groups, weights=differences)) > 1e-9))


def resample_totals(totals: Matrix, samples: int, seed: int) -> Matrix:
    """Column sums of each resample of the groups: what a score is computed from that is no mean of row scores.

    Args:
        totals: One row per group, one column per quantity, shape (g, k), g >= 1.
        samples: Number of resamples.
        seed: Seed of the resampling; the same seed and number of groups draw the same groups.

    Returns:
        Shape (samples, k).
    """
    generator, count = np.random.default_rng(seed), len(totals)
    chunk = max(1, min(samples, _CHUNK_VALUES // count))
    sums: list[Matrix] = []
    for start in range(0, samples, chunk):
        rows = min(chunk, samples - start)
        drawn = generator.integers(0, count, size=(rows, count))
        # How often each group was drawn; the product with the group totals is then one matrix multiplication.
        drawn += np.arange(rows)[:, None] * count
        weights = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        sums.append(weights @ totals)
    return np.concatenate(sums)


def sum_groups(values: Matrix, groups: npt.NDArray[np.intp]) -> Matrix:
    """Column sums by group, shape (g, k)."""
    return np.stack([np.bincount(groups, weights=column) for column in values.T], axis=1)
