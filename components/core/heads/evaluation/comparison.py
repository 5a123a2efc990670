"""All models on the same rows: scores, paired differences, and their intervals."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from components.core.evaluation.bootstrap import count_changed, group_numbers, resample_totals, sum_groups
from components.core.evaluation.results import Difference, ModelName, Score, Slice
from components.core.heads.evaluation.tallies import Tally
from components.core.metrics.regression import LOWER_IS_BETTER
from components.core.recipe import EvaluationConfig

Vector = npt.NDArray[np.float64]


def compare_heads(
    tallies: Mapping[ModelName, Tally], keys: Sequence[str], metrics: Sequence[str], config: EvaluationConfig
) -> Slice:
    """Scores of each model and differences of the tuned one from each other.

    Every model is measured on the same resamples, so an interval of a difference is a paired one. Rows with the same
    key are drawn together. A difference above 0 is a gain: that of an error is turned round.

    Args:
        tallies: By model, `tuned` among them; all of the same n rows, n >= 1.
        keys: Text of each row, length n.
        metrics: What is compared; one that is not defined on the rows is left out.
        config: Resamples, coverage and seed.
    """
    groups = group_numbers(keys)
    values = {name: each.all_rows() for name, each in tallies.items()}
    resampled = {
        name: each.measure(resample_totals(sum_groups(each.rows, groups), config.bootstrap_samples, config.seed))
        for name, each in tallies.items()
    }
    defined = [metric for metric in metrics if all(np.isfinite(found[metric]) for found in values.values())]
    scores: dict[ModelName, dict[str, Score]] = {name: {} for name in tallies}
    differences: dict[ModelName, dict[str, Difference]] = {name: {} for name in tallies if name != "tuned"}
    for metric in defined:
        sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
        for name in tallies:
            low, high = _bounds(resampled[name][metric], values[name][metric], config.confidence)
            scores[name][metric] = Score(value=values[name][metric], low=low, high=high)
        for name in differences:
            gap = sign * (values["tuned"][metric] - values[name][metric])
            spread = sign * (resampled["tuned"][metric] - resampled[name][metric])
            low, high = _bounds(spread, gap, config.confidence)
            changed = _count_changed(tallies["tuned"], tallies[name], metric, groups)
            differences[name][metric] = Difference(value=gap, low=low, high=high, changed=changed)
    return Slice(rows=len(keys), scores=scores, differences=differences)


def _bounds(values: Vector, otherwise: float, confidence: float) -> tuple[float, float]:
    """Percentiles of the resamples in which the metric is defined."""
    defined = values[np.isfinite(values)]
    if not len(defined):
        return otherwise, otherwise
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def _count_changed(one: Tally, other: Tally, metric: str, groups: npt.NDArray[np.intp]) -> int:
    """Groups in which the row scores moved, or, for a metric that is no mean of them, any answer."""
    if metric in one.row_scores:
        return count_changed(one.row_scores[metric] - other.row_scores[metric], groups)
    moved = np.array([a != b for a, b in zip(one.answers, other.answers, strict=True)], dtype=np.float64)
    return count_changed(moved, groups)
