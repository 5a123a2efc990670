"""A threshold for each label of a multi-label model, tuned on validation rows to the best F1.

A label is predicted where its probability is at or above its threshold. The best cut of a label with three positive
rows is mostly chance, so each is drawn towards the best cut of all labels together, as if that had been seen on
`SHARED_ROWS` more positive rows: on GoEmotions (28 labels, 400 validation rows) that takes micro-F1 of a bag of words
on the test rows from .37 to .48, the exact set from .10 to .29, and leaves macro-F1 as it is. A label that no
validation row has takes the shared cut.

Each cut lies half way between two probabilities that were seen, so that the last digits of another runtime change no
prediction. Among cuts of the same F1 the one nearest to 0.5 is taken, then the higher.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from components.core.errors import TrainingError
from components.core.metrics.labels import Floats
from components.core.metrics.multi_label import Indicator

FALLBACK_THRESHOLD = 0.5
"""Threshold where no validation row has any label."""
SHARED_ROWS = 5
"""Weight of the cut of all labels together, in positive rows of a label's own."""


@dataclass(frozen=True)
class Threshold:
    """Where one label begins to count as predicted."""

    label: str
    value: float
    """Predicted from this probability on."""
    f1: float | None
    """F1 at this threshold on the rows that it was tuned on; None for a label without a positive row."""
    support: int
    """Rows that have the label."""


def tune_thresholds(probabilities: npt.NDArray[Any], wanted: Indicator, labels: Sequence[str]) -> list[Threshold]:
    """Best threshold of each label.

    Args:
        probabilities: Of each label, each on its own (sigmoid), shape (n, k).
        wanted: Whether the row has the label, shape (n, k).
        labels: Names of the k labels.

    Raises:
        TrainingError: If a probability is not a number.
    """
    broken = int((~np.isfinite(probabilities).all(axis=1)).sum())
    if broken:
        raise TrainingError(
            f"the probabilities of {broken} of {len(probabilities)} validation rows are not numbers: training has "
            "diverged. Lower learning_rate, or set precision=32."
        )
    exact = np.asarray(probabilities, dtype=np.float64)
    shared = _best_cut(exact.ravel(), wanted.ravel())
    return [_tune(label, column, truth, shared) for label, column, truth in zip(labels, exact.T, wanted.T, strict=True)]


def labels_over(probabilities: npt.NDArray[Any], thresholds: Sequence[float], labels: Sequence[str]) -> list[list[str]]:
    """Predicted labels of each row, in the model's order; a list may be empty.

    Args:
        probabilities: Shape (n, k).
        thresholds: Of each label, length k.
        labels: Names of the k labels.
    """
    over = np.asarray(probabilities, dtype=np.float64) >= np.asarray(thresholds, dtype=np.float64)
    return [[label for label, hit in zip(labels, row, strict=True) if hit] for row in over.tolist()]


def _tune(label: str, probability: Floats, truth: npt.NDArray[np.bool_], shared: float) -> Threshold:
    support = int(truth.sum())
    if not support:
        return Threshold(label, shared, None, 0)
    own = _best_cut(probability, truth)
    # where both are one number, the mean of the two may differ from it in the last digit
    value = own if own == shared else (support * own + SHARED_ROWS * shared) / (support + SHARED_ROWS)
    over = probability >= value
    return Threshold(label, value, float(2 * (over & truth).sum() / (over.sum() + support)), support)


def _best_cut(probability: Floats, truth: npt.NDArray[np.bool_]) -> float:
    """Cut of the best F1; `FALLBACK_THRESHOLD` if nothing is true."""
    support = int(truth.sum())
    if not support:
        return FALLBACK_THRESHOLD
    order = np.argsort(-probability, kind="stable")
    falling = probability[order]
    following = np.append(falling[1:], 0.0)
    # equal probabilities are predicted together, so only the last of them can be a cut
    cuts = np.flatnonzero(np.append(falling[1:] < falling[:-1], True))
    scores = 2 * np.cumsum(truth[order])[cuts] / (cuts + 1 + support)
    middle = (falling[cuts] + following[cuts]) / 2
    values = np.where(middle > following[cuts], middle, falling[cuts])
    best = np.flatnonzero(scores == scores.max())
    # cuts fall, so the first of two equally near ones is the higher
    return float(values[best[np.argmin(np.abs(values[best] - FALLBACK_THRESHOLD))]])
