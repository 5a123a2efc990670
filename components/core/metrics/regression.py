"""Metrics of regression, equal to scikit-learn's and scipy's; None with a reason where not defined, never NaN."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.core.errors import TrainingError
from components.core.metrics.labels import NO_ROWS, Floats, Values, average_ranks, undefined

REGRESSION_METRICS = ("mae", "rmse", "r2", "pearson", "spearman")
LOWER_IS_BETTER = ("mae", "rmse")
ROW_METRICS = ("r2", "negative_absolute_error")


@dataclass(frozen=True)
class RegressionScores:
    """All that is measured on one set of predictions, in the unit of the target."""

    values: Values
    """Metric by name, see `REGRESSION_METRICS`."""
    undefined: dict[str, str]
    """Why a metric is None."""


def score_regression(references: Sequence[float], predictions: Sequence[float]) -> RegressionScores:
    """Measure predicted numbers.

    Args:
        references: Right numbers, length n, finite.
        predictions: Predicted numbers, length n.
    """
    wanted, found = np.asarray(references, dtype=np.float64), np.asarray(predictions, dtype=np.float64)
    broken = int((~np.isfinite(found)).sum())
    if not len(wanted) or broken:
        reason = f"{broken} of {len(wanted)} predictions are not numbers" if broken else NO_ROWS
        return RegressionScores(*undefined(REGRESSION_METRICS, reason))
    reasons = {"r2": _no_spread(wanted, "target")}
    reasons |= dict.fromkeys(("pearson", "spearman"), reasons["r2"] or _no_spread(found, "prediction"))
    with np.errstate(all="ignore"):
        measured = _measure(wanted, found)
    reasons = {name: reasons.get(name) or _not_finite(measured[name]) for name in REGRESSION_METRICS}
    return RegressionScores(
        {name: None if reasons[name] else measured[name] for name in REGRESSION_METRICS},
        {name: reason for name, reason in reasons.items() if reason},
    )


def score_regression_rows(references: Sequence[float], predictions: Sequence[float]) -> list[dict[str, float]]:
    """Scores of each row, higher is better, for the paired bootstrap.

    The mean of `r2` is R squared (it is left out where the targets do not vary), that of `negative_absolute_error` is
    minus the MAE.

    Raises:
        TrainingError: If a prediction is not a number.
    """
    wanted, found = np.asarray(references, dtype=np.float64), np.asarray(predictions, dtype=np.float64)
    broken = int((~np.isfinite(found)).sum())
    if broken:
        raise TrainingError(
            f"{broken} of {len(found)} predictions are not numbers: training has diverged. Lower learning_rate, or set "
            "precision=32."
        )
    error = np.abs(found - wanted)
    rows = [{"negative_absolute_error": -float(each)} for each in error]
    if _no_spread(wanted, "target"):
        return rows
    shares = 1 - error**2 / np.mean((wanted - wanted.mean()) ** 2)
    return [{"r2": float(share)} | row for share, row in zip(shares, rows, strict=True)]


def _measure(wanted: Floats, found: Floats) -> dict[str, float]:
    error, spread = found - wanted, wanted - wanted.mean()
    return {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt(np.mean(error**2))),
        "r2": float(1 - np.sum(error**2) / np.sum(spread**2)),
        "pearson": _correlation(wanted, found),
        "spearman": _correlation(average_ranks(wanted), average_ranks(found)),
    }


def _no_spread(values: Floats, what: str) -> str:
    if len(values) < 2:
        return "one row alone does not vary"
    return f"all {len(values)} {what}s are the same number" if np.ptp(values) == 0 else ""


def _not_finite(value: float) -> str:
    return "" if np.isfinite(value) else "the numbers are too large, or too close together, to compute it"


def _correlation(one: Floats, other: Floats) -> float:
    left, right = one - one.mean(), other - other.mean()
    return float(np.clip((left / np.linalg.norm(left)) @ (right / np.linalg.norm(right)), -1, 1))
