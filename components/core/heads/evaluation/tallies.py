"""Metrics as functions of sums over rows: resampling the rows then costs one matrix product, whatever the metric.

A tally gives each row a few numbers (its label, what was predicted, squared errors) whose sums decide every metric
here. `measure` takes many sums at once. On all rows it equals the metrics of `components.core.metrics`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from components.core.errors import StorageError
from components.core.metrics.entities import entity_spans
from components.core.metrics.labels import Hits, all_labels, divide
from components.core.metrics.multi_label import indicate
from components.core.tasks import Row
from components.core.tasks.heads import Prediction

Matrix = npt.NDArray[np.float64]
Measured = dict[str, Matrix]
"""Metric by name, one value for each row of sums; NaN where it is not defined."""

TALLIED = {
    "single_label": ("accuracy", "f1_macro", "f1_weighted", "precision_macro", "recall_macro", "mcc"),
    "multi_label": (
        "f1_micro", "f1_macro", "f1_samples", "accuracy", "precision_micro", "precision_macro", "precision_samples",
        "recall_micro", "recall_macro", "recall_samples", "mcc",
    ),
    "regression": ("r2", "pearson", "mae", "rmse"),
    "ner": ("f1", "f1_macro", "precision", "recall", "accuracy"),
}  # fmt: skip
"""Metrics with an interval, by task, the most telling first."""


@dataclass(frozen=True)
class Tally:
    """The numbers of each row, and what their sums mean."""

    rows: Matrix
    """Shape (n, k)."""
    measure: Callable[[Matrix], Measured]
    """From sums, shape (s, k), to metrics, each of shape (s,)."""
    answers: list[object]
    """What the model said of each row, to tell a row that changed."""
    row_scores: dict[str, Matrix]
    """Scores of each row, for metrics that are means of them: only a row whose score moved counts as changed."""

    def all_rows(self) -> dict[str, float]:
        """The metrics of the rows as they are."""
        return {name: float(values[0]) for name, values in self.measure(self.rows.sum(axis=0)[None]).items()}


def tally(task: str, rows: Sequence[Row], predictions: Sequence[Prediction], labels: Sequence[str]) -> Tally:
    """The numbers of each row for one model.

    Args:
        task: Core name of the task.
        rows: Canonical rows with what is right, length n.
        predictions: What the model says of them, length n.
        labels: The model's labels; not looked at for `regression` and `ner`.
    """
    match task:
        case "single_label":
            return tally_labels([row["label"] for row in rows], [each["label"] for each in predictions])
        case "multi_label":
            return tally_label_lists([row["labels"] for row in rows], [each["labels"] for each in predictions], labels)
        case "regression":
            return tally_numbers([row["score"] for row in rows], [each["value"] for each in predictions])
        case "ner":
            return tally_entities([row["ner_tags"] for row in rows], [each["tags"] for each in predictions])
    raise StorageError(f"there is no evaluation for the task {task}. Use one of {', '.join(TALLIED)}.")


def tally_labels(references: Sequence[str], predictions: Sequence[str]) -> Tally:
    """One label for each row: hits by label."""
    names = sorted({*references, *predictions})
    number = {name: place for place, name in enumerate(names)}
    each = np.eye(len(names))
    wanted, found = (each[[number[label] for label in labels]] for labels in (references, predictions))
    right = wanted * found
    return Tally(np.hstack([right, wanted, found]), _measure_labels, list(predictions), {"accuracy": right.sum(axis=1)})


def _measure_labels(sums: Matrix) -> Measured:
    hits = _hits(sums)
    occurs = (hits.support + hits.predicted) > 0
    precision, recall, f1 = hits.scores()
    rows = hits.support.sum(axis=1)
    right = hits.right.sum(axis=1)
    spread = (rows**2 - (hits.support**2).sum(axis=1)) * (rows**2 - (hits.predicted**2).sum(axis=1))
    agreement = right * rows - (hits.support * hits.predicted).sum(axis=1)
    return {
        "accuracy": divide(right, rows),
        "f1_macro": _mean_where(f1, occurs),
        "f1_weighted": divide((f1 * hits.support).sum(axis=1), rows),
        "precision_macro": _mean_where(precision, occurs),
        "recall_macro": _mean_where(recall, occurs),
        "mcc": divide(agreement, np.sqrt(np.maximum(spread, 0))),
    }


def tally_label_lists(
    references: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]], labels: Sequence[str]
) -> Tally:
    """Label lists: hits by label, and the scores of each row."""
    names = all_labels(labels, *references, *predictions)
    return tally_indicators(indicate(references, names), indicate(predictions, names))


def tally_indicators(wanted: npt.NDArray[np.bool_], found: npt.NDArray[np.bool_]) -> Tally:
    """The same from matrices of rows by labels."""
    both = wanted & found
    by_row = Hits(*(part.sum(axis=1) for part in (both, wanted, found)))
    exact = (wanted == found).all(axis=1)
    ones = np.ones(len(wanted))
    columns = np.column_stack([both, wanted, found, *by_row.scores(otherwise=1.0), exact, ones]).astype(np.float64)
    names = ("precision_samples", "recall_samples", "f1_samples", "accuracy")
    own = {name: columns[:, place] for place, name in enumerate(names, start=columns.shape[1] - 5)}
    return Tally(columns, _measure_label_lists, [row.tobytes() for row in found], own)


def _measure_label_lists(sums: Matrix) -> Measured:
    by_row, rows = sums[:, -5:-1], sums[:, -1:]
    hits = _hits(sums[:, :-5])
    micro = Hits(*(part.sum(axis=1) for part in (hits.right, hits.support, hits.predicted))).scores()
    names = ("precision", "recall", "f1")
    measured = {f"{name}_micro": values for name, values in zip(names, micro, strict=True)}
    measured |= {f"{name}_macro": values.mean(axis=1) for name, values in zip(names, hits.scores(), strict=True)}
    means = by_row / rows
    measured |= {f"{name}_samples": means[:, place] for place, name in enumerate(names)}
    spread = hits.support * (rows - hits.support) * hits.predicted * (rows - hits.predicted)
    agreement = hits.right * rows - hits.support * hits.predicted
    mcc = divide(agreement, np.sqrt(np.maximum(spread, 0))).mean(axis=1)
    return measured | {"accuracy": means[:, 3], "mcc": mcc}


def tally_numbers(references: Sequence[float], predictions: Sequence[float]) -> Tally:
    """Numbers: errors, and the moments that R squared and the correlation need.

    A constant prediction has no correlation: it counts 0, so that a model can be compared with one.
    """
    wanted, found = np.asarray(references, dtype=np.float64), np.asarray(predictions, dtype=np.float64)
    error = found - wanted
    # shifted and scaled, so that sums of squares lose no digits; neither changes a correlation
    y, p = _standardise(wanted), _standardise(found)
    unit = float(wanted.std()) or 1.0
    columns = [np.ones(len(y)), np.abs(error), error**2, y, y**2, p, p**2, y * p]

    def measure(sums: Matrix) -> Measured:
        n, absolute, squared, sy, syy, sp, spp, syp = sums.T
        vary_y, vary_p = syy - sy**2 / n, spp - sp**2 / n
        # what rounding leaves of a spread that is none
        some = vary_y > 1e-12 * np.maximum(syy, 1e-300)
        both = some & (vary_p > 1e-12 * np.maximum(spp, 1e-300))
        r2, pearson = np.full(len(n), np.nan), np.where(some, 0.0, np.nan)
        r2[some] = 1 - squared[some] / (unit**2 * vary_y[some])
        covariance = syp - sy * sp / n
        pearson[both] = np.clip(covariance[both] / np.sqrt(vary_y[both] * vary_p[both]), -1, 1)
        return {"r2": r2, "pearson": pearson, "mae": absolute / n, "rmse": np.sqrt(squared / n)}

    own = dict.fromkeys(("r2", "mae", "rmse"), np.abs(error))
    return Tally(np.column_stack(columns), measure, found.tolist(), own)


def _standardise(values: Matrix) -> Matrix:
    spread = float(values.std())
    return np.asarray((values - values.mean()) / (spread if np.ptp(values) > 0 and spread > 0 else 1.0))


def tally_entities(references: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]) -> Tally:
    """Entities: hits by type, and tags."""
    pairs = [(set(entity_spans(w)), set(entity_spans(f))) for w, f in zip(references, predictions, strict=True)]
    types = sorted({span.type for pair in pairs for spans in pair for span in spans})
    number = {name: place for place, name in enumerate(types)}
    k = len(types)
    columns = np.zeros((len(pairs), 3 * k + 2))
    for row, (wanted, found) in zip(columns, pairs, strict=True):
        for part, spans in enumerate((wanted & found, wanted, found)):
            for span in spans:
                row[part * k + number[span.type]] += 1
    columns[:, -2] = [
        sum(a == b for a, b in zip(w, f, strict=True)) for w, f in zip(references, predictions, strict=True)
    ]
    columns[:, -1] = [len(tags) for tags in references]
    return Tally(columns, _measure_entities, [frozenset(found) for _, found in pairs], {})


def _measure_entities(sums: Matrix) -> Measured:
    hits, tags, tokens = _hits(sums[:, :-2]), sums[:, -2], sums[:, -1]
    occurs = (hits.support + hits.predicted) > 0
    precision, recall, f1 = Hits(*(part.sum(axis=1) for part in (hits.right, hits.support, hits.predicted))).scores()
    macro = _mean_where(hits.scores()[2], occurs)
    return {
        "f1": f1, "f1_macro": macro, "precision": precision, "recall": recall, "accuracy": divide(tags, tokens),
    }  # fmt: skip


def _hits(sums: Matrix) -> Hits:
    parts: list[Any] = np.split(sums, 3, axis=1)
    return Hits(*parts)


def _mean_where(values: Matrix, counted: npt.NDArray[np.bool_]) -> Matrix:
    return divide((values * counted).sum(axis=1), counted.sum(axis=1))
