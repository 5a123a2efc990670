"""Metrics of multi-label classification, equal to scikit-learn's on the same predictions.

- micro: all labels as one; macro: the mean over all labels of the model (and those it never saw), a label without a
  denominator counting 0 (scikit-learn's zero_division=0);
- samples: the mean over rows, where a row without labels that was given none is right and counts 1 (scikit-learn's
  zero_division=1); without that rule a model could not be right on such rows;
- accuracy: the share of rows whose set of labels is exactly right;
- mcc: the mean over labels of the Matthews correlation of the label against its absence.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from components.core.metrics.labels import (
    NO_ROWS,
    Hits,
    LabelScore,
    Values,
    all_labels,
    divide,
    undefined,
)

Indicator = npt.NDArray[np.bool_]
"""Rows by labels, shape (n, k): whether the row has the label."""

MULTI_LABEL_METRICS = (
    "accuracy", "f1_micro", "f1_macro", "f1_samples", "precision_micro", "precision_macro", "precision_samples",
    "recall_micro", "recall_macro", "recall_samples", "mcc",
)  # fmt: skip
ROW_METRICS = ("f1", "accuracy")


@dataclass(frozen=True)
class MultiLabelScores:
    """All that is measured on one set of predictions."""

    values: Values
    """Metric by name, see `MULTI_LABEL_METRICS`."""
    undefined: dict[str, str]
    """Why a metric is None."""
    labels: list[LabelScore]
    """The model's labels, then those it never saw."""


def indicate(rows: Sequence[Collection[str]], labels: Sequence[str]) -> Indicator:
    """Label lists as a matrix of n rows and k labels; a repeated label counts once.

    Raises:
        KeyError: If a row has a label that is not one of `labels`.
    """
    number = {label: place for place, label in enumerate(labels)}
    found = np.zeros((len(rows), len(labels)), dtype=np.bool_)
    for row, members in zip(found, rows, strict=True):
        row[[number[label] for label in members]] = True
    return found


def score_multi_label(
    references: Sequence[Collection[str]], predictions: Sequence[Collection[str]], labels: Sequence[str]
) -> MultiLabelScores:
    """Measure predicted label lists.

    Args:
        references: Right labels of each row, length n; a list may be empty.
        predictions: Predicted labels of each row, length n.
        labels: The model's labels.
    """
    names = all_labels(labels, *references, *predictions)
    wanted, found = indicate(references, names), indicate(predictions, names)
    by_label = _hits(wanted, found, axis=0)
    table = by_label.table(names)
    if not len(references) or not names:
        reason = NO_ROWS if not len(references) else "there are no labels"
        return MultiLabelScores(*undefined(MULTI_LABEL_METRICS, reason), table)
    averages = {
        "micro": by_label.total().scores(),
        "macro": by_label.scores(),
        "samples": _hits(wanted, found, axis=1).scores(otherwise=1.0),
    }
    values: Values = {"accuracy": float((wanted == found).all(axis=1).mean()), "mcc": _matthews(by_label, len(wanted))}
    for average, scores in averages.items():
        for name, each in zip(("precision", "recall", "f1"), scores, strict=True):
            values[f"{name}_{average}"] = float(each.mean())
    return MultiLabelScores(values, {}, table)


def score_multi_label_rows(
    references: Sequence[Collection[str]], predictions: Sequence[Collection[str]]
) -> list[dict[str, float]]:
    """Scores of each row whose means are samples-F1 and accuracy, for the paired bootstrap."""
    return [_row_scores(set(wanted), set(found)) for wanted, found in zip(references, predictions, strict=True)]


def _row_scores(wanted: set[str], found: set[str]) -> dict[str, float]:
    size = len(wanted) + len(found)
    return {"f1": 2 * len(wanted & found) / size if size else 1.0, "accuracy": float(wanted == found)}


def _hits(wanted: Indicator, found: Indicator, axis: int) -> Hits:
    return Hits((wanted & found).sum(axis=axis), wanted.sum(axis=axis), found.sum(axis=axis))


def _matthews(hits: Hits, rows: int) -> float:
    wanted, given = hits.support.astype(np.float64), hits.predicted.astype(np.float64)
    spread = wanted * (rows - wanted) * given * (rows - given)
    return float(divide(hits.right * rows - wanted * given, np.sqrt(spread)).mean())
