"""Metrics of single-label classification, equal to scikit-learn's on the same predictions.

Macro and weighted averages go over the labels that occur among references or predictions, as scikit-learn has it; a
label of the test rows that the model never saw is one of them and can only be missed. A precision, recall or F1 without
a denominator counts as 0, and so does the Matthews correlation of constant predictions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.core.metrics.labels import (
    NO_ROWS,
    Counts,
    Floats,
    Hits,
    LabelScore,
    Values,
    all_labels,
    average_ranks,
    undefined,
)

CALIBRATION_BINS = 15
CLASSIFICATION_METRICS = (
    "accuracy", "f1_macro", "f1_micro", "f1_weighted", "precision_macro", "recall_macro", "mcc", "auc",
    "calibration_error",
)  # fmt: skip
ROW_METRICS = ("accuracy", "recall_macro")


@dataclass(frozen=True)
class CalibrationBin:
    """Rows whose largest probability lies in (low, high]; empty bins are left out."""

    low: float
    high: float
    rows: int
    confidence: float
    """Mean of the largest probability."""
    accuracy: float
    """Share of right predictions; equal to the confidence in a calibrated model."""


@dataclass(frozen=True)
class ClassificationScores:
    """All that is measured on one set of predictions."""

    values: Values
    """Metric by name, see `CLASSIFICATION_METRICS`."""
    undefined: dict[str, str]
    """Why a metric is None."""
    labels: list[LabelScore]
    """In the order of the confusion matrix: the model's labels, then those it never saw."""
    confusion: list[list[int]]
    """Rows are references, columns predictions."""
    calibration: list[CalibrationBin]


def score_classification(
    references: Sequence[str],
    predictions: Sequence[str],
    labels: Sequence[str],
    probabilities: Floats | None = None,
) -> ClassificationScores:
    """Measure predictions of one label for each row.

    Args:
        references: Right label of each row, length n.
        predictions: Predicted label of each row, length n.
        labels: The model's labels, length k, in the order of its outputs.
        probabilities: Shape (n, k), for AUC (one-vs-rest, macro) and calibration.
    """
    names = all_labels(labels, references, predictions)
    matrix = _confusion(references, predictions, names)
    hits = Hits(np.diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0))
    table, confusion = hits.table(names), matrix.tolist()
    if not len(references):
        values, reasons = undefined(CLASSIFICATION_METRICS, NO_ROWS)
        return ClassificationScores(values, reasons, table, confusion, [])
    values, reasons, bins = _of_probabilities(references, predictions, labels, probabilities)
    return ClassificationScores(_of_counts(hits) | values, reasons, table, confusion, bins)


def score_classification_rows(references: Sequence[str], predictions: Sequence[str]) -> list[dict[str, float]]:
    """Scores of each row whose means are accuracy and macro recall, for the paired bootstrap.

    A right row counts n / (labels * support of its label) towards `recall_macro`, so that rare labels weigh as much
    as frequent ones; the labels are those of the references.
    """
    names, places, support = np.unique(np.asarray(references, dtype=object), return_inverse=True, return_counts=True)
    right = [float(wanted == found) for wanted, found in zip(references, predictions, strict=True)]
    weights = len(references) / (max(len(names), 1) * support[places])
    return [{"accuracy": hit, "recall_macro": hit * float(weight)} for hit, weight in zip(right, weights, strict=True)]


def _confusion(references: Sequence[str], predictions: Sequence[str], names: Sequence[str]) -> Counts:
    number = {name: place for place, name in enumerate(names)}
    matrix = np.zeros((len(names), len(names)), dtype=np.int64)
    pairs = [(number[wanted], number[found]) for wanted, found in zip(references, predictions, strict=True)]
    np.add.at(matrix, tuple(np.asarray(pairs, dtype=np.intp).reshape(-1, 2).T), 1)
    return matrix


def _of_counts(hits: Hits) -> Values:
    occurs = (hits.support + hits.predicted) > 0
    precision, recall, f1 = (score[occurs] for score in hits.scores())
    rows = int(hits.support.sum())
    accuracy = float(hits.right.sum() / rows)
    return {
        "accuracy": accuracy,
        "f1_macro": float(f1.mean()),
        "f1_micro": accuracy,
        "f1_weighted": float(f1 @ hits.support[occurs] / rows),
        "precision_macro": float(precision.mean()),
        "recall_macro": float(recall.mean()),
        "mcc": _matthews(hits, rows),
    }


def _matthews(hits: Hits, rows: int) -> float:
    wanted, found = hits.support.astype(np.float64), hits.predicted.astype(np.float64)
    spread = (rows**2 - wanted @ wanted) * (rows**2 - found @ found)
    return float((hits.right.sum() * rows - wanted @ found) / np.sqrt(spread)) if spread > 0 else 0.0


def _of_probabilities(
    references: Sequence[str], predictions: Sequence[str], labels: Sequence[str], probabilities: Floats | None
) -> tuple[Values, dict[str, str], list[CalibrationBin]]:
    if probabilities is None:
        return *undefined(("auc", "calibration_error"), "there are no probabilities"), []
    broken = int((~np.isfinite(probabilities).all(axis=1)).sum())
    if broken:
        reason = f"the probabilities of {broken} of {len(references)} rows are not numbers"
        return *undefined(("auc", "calibration_error"), reason), []
    right = np.asarray([wanted == found for wanted, found in zip(references, predictions, strict=True)])
    bins = calibrate(probabilities.max(axis=1), right)
    error = sum(each.rows * abs(each.accuracy - each.confidence) for each in bins) / len(right)
    auc = one_vs_rest_auc(references, labels, probabilities)
    reasons = {} if auc is not None else {"auc": "no label of the model has both rows with it and rows without it"}
    return {"auc": auc, "calibration_error": error}, reasons, bins


def one_vs_rest_auc(references: Sequence[str], labels: Sequence[str], probabilities: Floats) -> float | None:
    """Mean area under the ROC curve over the labels that some rows have and some have not; None without one.

    Args:
        references: Right label of each row, length n.
        labels: The model's labels, length k.
        probabilities: Finite, shape (n, k).
    """
    wanted = np.asarray(references, dtype=object)
    areas = []
    for label, column in zip(labels, np.asarray(probabilities).T, strict=True):
        positive = wanted == label
        have, rest = int(positive.sum()), int((~positive).sum())
        if have and rest:
            wins = average_ranks(column)[positive].sum() - have * (have + 1) / 2
            areas.append(float(wins / (have * rest)))
    return float(np.mean(areas)) if areas else None


def calibrate(confidence: Floats, right: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[CalibrationBin]:
    """Rows by confidence, in bins of equal width.

    Args:
        confidence: Probability of the predicted label, length n.
        right: Whether the prediction is right, length n.
    """
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    places = np.clip(np.digitize(confidence, edges, right=True) - 1, 0, CALIBRATION_BINS - 1)
    return [
        CalibrationBin(
            float(edges[place]),
            float(edges[place + 1]),
            int(members.sum()),
            float(confidence[members].mean(dtype=np.float64)),
            float(right[members].mean()),
        )
        for place in range(CALIBRATION_BINS)
        if (members := places == place).any()
    ]
