"""What the report shows of the tuned model beside its scores: labels, confusion, calibration, residuals, errors."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from components.core.metrics.classification import ClassificationScores, calibrate
from components.core.metrics.entities import EntityScores
from components.core.metrics.multi_label import MultiLabelScores, indicate
from components.core.tasks import Row
from components.core.tasks.heads import Head, Prediction, Scores

TOP_CONFUSIONS = 30


def describe(scores: Scores, rows: Sequence[Row], predictions: Sequence[Prediction], head: Head) -> dict[str, Any]:
    """Details of one model's predictions, as JSON."""
    if isinstance(scores, ClassificationScores):
        names = [each.label for each in scores.labels]
        return {
            "labels": [asdict(each) for each in scores.labels],
            "confusion": {"labels": names, "matrix": scores.confusion},
            "confusions": _top_confusions(names, scores.confusion),
            "calibration": [asdict(each) for each in scores.calibration],
        }
    if isinstance(scores, MultiLabelScores):
        thresholds = dict(zip(head.labels, head.thresholds or [], strict=False))
        table = [asdict(each) | {"threshold": thresholds.get(each.label)} for each in scores.labels]
        shares = np.array([[each["probabilities"][label] for label in head.labels] for each in predictions])
        known = set(head.labels)
        truth = indicate([[label for label in row["labels"] if label in known] for row in rows], head.labels)
        return {"labels": table, "calibration": [asdict(each) for each in calibrate(shares.ravel(), truth.ravel())]}
    if isinstance(scores, EntityScores):
        errors = {kind: asdict(each) for kind, each in scores.errors.items()}
        return {
            "labels": [asdict(each) for each in scores.types],
            "errors": errors,
            "total_errors": asdict(scores.total_errors()),
        }
    residuals = np.array([each["value"] - row["score"] for row, each in zip(rows, predictions, strict=True)])
    counts, edges = np.histogram(residuals, bins=12)
    shares = np.quantile(residuals, [0.05, 0.25, 0.5, 0.75, 0.95]).tolist()
    return {
        "residuals": {
            "mean": float(residuals.mean()),
            "std": float(residuals.std()),
            "quantiles": dict(zip(("5", "25", "50", "75", "95"), shares, strict=True)),
            "histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
        }
    }


def _top_confusions(names: Sequence[str], matrix: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = [
        {"label": names[i], "predicted": names[j], "rows": count, "of": sum(line)}
        for i, line in enumerate(matrix)
        for j, count in enumerate(line)
        if count and i != j
    ]
    return sorted(cells, key=lambda cell: -cell["rows"])[:TOP_CONFUSIONS]
