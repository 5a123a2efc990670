"""Turns counters and arrays into the report's tables."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from components.core.data.contract.columns import Columns
from components.core.data.label_map import all_labels
from components.core.data.report.dataset_report import ColumnSummary, LengthSummary, ScoreSummary, TargetSummary
from components.core.data.splits import Plan
from components.core.tasks.seam import RowContract

BINS = 24


def summarize_columns(columns: dict[str, Columns], task: RowContract) -> list[ColumnSummary]:
    """One entry per column of the input, the task's own first."""
    used = [*task.columns, *task.optional_columns]
    names = {name for counts in columns.values() for name in counts.counts}
    ordered = [name for name in used if name in names] + sorted(names - set(used))
    return [
        ColumnSummary(
            name[:100],
            name in used,
            {split: dict(counts.counts[name].types) for split, counts in columns.items() if name in counts.counts},
            {split: counts.counts[name].empty for split, counts in columns.items() if name in counts.counts},
        )
        for name in ordered
    ]


def summarize_targets(plan: Plan, task: RowContract) -> TargetSummary:
    """Labels, entity types or scores of each split."""
    parts = {split: (spool.targets, rows) for split, (spool, rows) in plan.parts.items() if len(rows)}
    if task.target_kind == "answer" or not parts:
        return TargetSummary()
    if task.target_kind == "score":
        scores = {split: targets.scores(rows) for split, (targets, rows) in parts.items()}
        edges = _bin_edges(np.concatenate(list(scores.values())))
        return TargetSummary(scores={split: _score_summary(values, edges) for split, values in scores.items()})
    counts = {split: targets.counts(rows) for split, (targets, rows) in parts.items()}
    entities = task.target_kind == "entities"
    return TargetSummary(
        unit="entities" if entities else "rows",
        labels={label: {split: counts[split].get(label, 0) for split in counts} for label in all_labels(plan)},
        totals={split: sum(counts[split].values()) if entities else len(rows) for split, (_, rows) in parts.items()},
        unlabelled={split: targets.unlabelled(rows) for split, (targets, rows) in parts.items()},
    )


def _bin_edges(values: "np.ndarray[Any, np.dtype[np.float64]]") -> "np.ndarray[Any, Any]":
    low, high = float(values.min()), float(values.max())
    # a range that is too large for a number is not once it is halved
    part = 1.0 if np.isfinite(high - low) else 0.5
    try:
        return np.histogram_bin_edges(values * part, bins=BINS) / part
    except ValueError:  # there are fewer numbers in the range than bins
        return np.array([low, high])


def _score_summary(values: "np.ndarray[Any, np.dtype[np.float64]]", edges: "np.ndarray[Any, Any]") -> ScoreSummary:
    with np.errstate(all="ignore"):  # sums of scores that are refused as too large
        counts, _ = np.histogram(values, bins=edges)
        low, middle, mean, std, high = map(
            float, np.nan_to_num([values.min(), np.median(values), values.mean(), values.std(), values.max()])
        )
    return ScoreSummary(low, middle, mean, std, high, list(map(float, edges)), list(map(int, counts)))


def summarize_lengths(plan: Plan, optional: Sequence[str]) -> dict[str, dict[str, list[LengthSummary]]]:
    """Lengths of each text column in each split, in characters and in words."""
    return {
        split: {
            name: [
                _summary(np.frombuffer(values, dtype=np.uint32)[positions], unit)
                for unit, values in zip(("characters", "words"), lengths, strict=True)
            ]
            for name, lengths in spool.lengths.items()
            if name not in optional or any(lengths[0])  # a pair that no row has
        }
        for split, (spool, positions) in plan.parts.items()
        if len(positions)
    }


def _summary(values: "np.ndarray[Any, np.dtype[np.uint32]]", unit: str) -> LengthSummary:
    # the longest hundredth would squeeze all other bars together
    high = float(np.percentile(values, 99))
    counts, edges = np.histogram(np.minimum(values, high), bins=_edges(float(values.min()), high))
    return LengthSummary(
        unit,
        int(values.min()),
        float(np.median(values)),
        round(float(values.mean()), 1),
        float(np.percentile(values, 95)),
        int(values.max()),
        [float(edge) for edge in edges],
        [int(count) for count in counts],
    )


def _edges(low: float, high: float) -> Sequence[float]:
    bins = int(min(BINS, max(1.0, high - low)))
    return [float(edge) for edge in np.linspace(low, max(high, low + 1), bins + 1)]
