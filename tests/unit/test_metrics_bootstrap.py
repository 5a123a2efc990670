"""Row scores of every task go through the paired bootstrap, and their means are what the report says."""

import numpy as np
import pytest

from components.core.evaluation.bootstrap import count_changed, estimate_means, group_numbers
from components.core.metrics import classification, entities, multi_label, regression

LABELS = ["a", "b", "c"]
WANTED = LABELS * 20
GOOD = [label if number % 5 else "a" for number, label in enumerate(WANTED)]
POOR = ["a"] * 60


def lists(labels):
    return [[label] if label != "c" else [] for label in labels]


def numbers(labels):
    return [float(LABELS.index(label)) for label in labels]


def tags(labels):
    return [["O", f"B-{label}"] if label != "c" else ["O", "O"] for label in labels]


@pytest.mark.parametrize(
    ("score_rows", "shaped", "metrics"),
    [
        (classification.score_classification_rows, list, classification.ROW_METRICS),
        (multi_label.score_multi_label_rows, lists, multi_label.ROW_METRICS),
        (regression.score_regression_rows, numbers, regression.ROW_METRICS),
        (entities.score_entity_rows, tags, entities.ROW_METRICS),
    ],
)
def test_a_better_model_has_a_difference_whose_interval_lies_above_zero(score_rows, shaped, metrics):
    better, worse = score_rows(shaped(WANTED), shaped(GOOD)), score_rows(shaped(WANTED), shaped(POOR))
    assert set(better[0]) == set(metrics)
    gaps = np.array([[one[name] - other[name] for name in metrics] for one, other in zip(better, worse, strict=True)])
    groups = group_numbers([str(number) for number in range(60)])
    for gap, estimate in zip(gaps.T, estimate_means(gaps, groups, 500, 0.95, 42), strict=True):
        assert 0 < estimate.low < estimate.value < estimate.high
        assert estimate.value == pytest.approx(gap.mean())
        assert count_changed(gap, groups) >= 6
