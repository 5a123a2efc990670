"""Multi-label metrics and thresholds, held against scikit-learn."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.core.errors import TrainingError
from components.core.metrics.multi_label import (
    MULTI_LABEL_METRICS,
    indicate,
    score_multi_label,
    score_multi_label_rows,
)
from components.core.metrics.thresholds import SHARED_ROWS, labels_over, tune_thresholds

LABELS = ["a", "b", "c"]
label_lists = st.lists(st.sampled_from(LABELS), max_size=3, unique=True)
pairs = st.lists(st.tuples(label_lists, label_lists), min_size=1, max_size=20)


def from_scikit_learn(wanted, found):
    from sklearn import metrics

    numbers = {"accuracy": metrics.accuracy_score(wanted, found)}
    each = [metrics.matthews_corrcoef(one, other) for one, other in zip(wanted.T, found.T, strict=True)]
    numbers["mcc"] = float(np.mean(each))
    for average in ("micro", "macro", "samples"):
        options = {"average": average, "zero_division": 1 if average == "samples" else 0}
        numbers[f"f1_{average}"] = metrics.f1_score(wanted, found, **options)
        numbers[f"precision_{average}"] = metrics.precision_score(wanted, found, **options)
        numbers[f"recall_{average}"] = metrics.recall_score(wanted, found, **options)
    return numbers


def assert_equal_to_scikit_learn(wanted, found, labels):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = from_scikit_learn(indicate(wanted, labels).astype(int), indicate(found, labels).astype(int))
    assert score_multi_label(wanted, found, labels).values == pytest.approx(expected, abs=1e-12)


@given(pairs)
@settings(deadline=None, max_examples=20)
def test_every_metric_equals_scikit_learn_with_empty_lists_among_them(rows):
    assert_equal_to_scikit_learn(*map(list, zip(*rows, strict=True)), LABELS)


def test_a_hundred_and_fifty_labels_equal_scikit_learn():
    random = np.random.default_rng(2)
    labels = [f"label {number}" for number in range(150)]
    wanted, found = (
        [list(random.choice(labels, random.integers(0, 4), replace=False)) for _ in range(400)] for _ in range(2)
    )
    assert_equal_to_scikit_learn(wanted, found, labels)


def test_two_rows_by_hand():
    scores = score_multi_label([["a", "b"], []], [["a"], []], ["a", "b"])
    assert scores.values["f1_samples"] == pytest.approx((2 / 3 + 1) / 2)
    assert scores.values["f1_micro"] == pytest.approx(2 / 3)
    assert scores.values["f1_macro"] == 0.5
    assert scores.values["accuracy"] == 0.5
    assert [(row.label, row.recall, row.support, row.predicted) for row in scores.labels] == [
        ("a", 1.0, 1, 1),
        ("b", 0.0, 1, 0),
    ]


def test_rows_without_labels_that_are_given_none_are_right():
    scores = score_multi_label([[], []], [[], []], ["a"])
    assert (scores.values["f1_samples"], scores.values["accuracy"], scores.values["f1_micro"]) == (1.0, 1.0, 0.0)
    assert score_multi_label_rows([[]], [[]]) == [{"f1": 1.0, "accuracy": 1.0}]
    assert score_multi_label_rows([[]], [["a"]]) == [{"f1": 0.0, "accuracy": 0.0}]


def test_a_label_the_model_never_saw_is_in_the_table_and_can_only_be_missed():
    scores = score_multi_label([["a", "new"]], [["a"]], ["a"])
    assert [(row.label, row.recall) for row in scores.labels] == [("a", 1.0), ("new", 0.0)]
    assert scores.values["f1_macro"] == 0.5


@pytest.mark.parametrize(("rows", "labels", "reason"), [([], ["a"], "no rows"), ([[]], [], "no labels")])
def test_nothing_to_measure_gives_no_numbers(rows, labels, reason):
    scores = score_multi_label(rows, rows, labels)
    assert scores.values == dict.fromkeys(MULTI_LABEL_METRICS)
    assert set(scores.undefined.values()) == {f"there are {reason}"}


@given(pairs)
@settings(deadline=None, max_examples=20)
def test_row_scores_average_to_the_samples_scores(rows):
    wanted, found = map(list, zip(*rows, strict=True))
    values = score_multi_label(wanted, found, LABELS).values
    scores = score_multi_label_rows(wanted, found)
    assert np.mean([row["f1"] for row in scores]) == pytest.approx(values["f1_samples"])
    assert np.mean([row["accuracy"] for row in scores]) == pytest.approx(values["accuracy"])


@given(st.lists(st.tuples(st.integers(0, 10), st.booleans()), min_size=1, max_size=25))
@settings(deadline=None, max_examples=20)
def test_no_threshold_gives_a_better_f1_than_the_tuned_one(rows):
    from sklearn.metrics import f1_score

    probability = np.array([tenths / 10 for tenths, _ in rows])
    truth = np.array([yes for _, yes in rows])
    (tuned,) = tune_thresholds(probability[:, None], truth[:, None], ["a"])
    if not truth.any():
        assert (tuned.value, tuned.f1, tuned.support) == (0.5, None, 0)
        return
    best = max(f1_score(truth, probability >= cut, zero_division=0) for cut in [0, *probability])
    assert tuned.f1 == pytest.approx(best)
    assert f1_score(truth, probability >= tuned.value) == pytest.approx(best)


def test_a_threshold_lies_half_way_between_two_probabilities():
    (tuned,) = tune_thresholds(np.array([[0.9], [0.7], [0.3]]), np.array([[True], [True], [False]]), ["a"])
    assert (tuned.value, tuned.f1) == (0.5, 1.0)


def test_of_equally_good_thresholds_the_one_nearest_to_a_half_wins():
    probability = np.array([[0.9], [0.8], [0.6], [0.2]])
    truth = np.array([[True], [False], [False], [True]])
    (tuned,) = tune_thresholds(probability, truth, ["a"])
    assert tuned.f1 == pytest.approx(2 / 3)
    assert tuned.value == pytest.approx(0.85)  # 0.1, which predicts all four, gives 2/3 too


def test_a_label_of_few_rows_is_drawn_towards_the_cut_of_all_labels():
    probability = np.array([[0.30, 0.9, 0.01], [0.20, 0.8, 0.02], [0.05, 0.7, 0.03]], dtype=np.float32)
    truth = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=bool)
    # of all nine together: 0.125 catches all three positives among five, F1 0.75
    shared, own = 0.125, (0.125, 0.35)
    tuned = tune_thresholds(probability, truth, LABELS)
    drawn = [own[0], (1 * own[1] + SHARED_ROWS * shared) / (1 + SHARED_ROWS), shared]
    assert [each.value for each in tuned] == pytest.approx(drawn)
    assert [each.f1 for each in tuned] == [1.0, 0.5, None]
    assert labels_over(probability, [each.value for each in tuned], LABELS) == [["a", "b"], ["a", "b"], ["b"]]


def test_a_label_of_many_rows_keeps_its_own_cut():
    from sklearn.metrics import f1_score

    chance = np.random.default_rng(0)
    truth = chance.random((4000, 2)) < [0.5, 0.02]
    probability = np.clip(chance.normal(truth * 0.3 + [0.3, 0.1], 0.1), 0, 1)
    tuned = tune_thresholds(probability, truth, ["a", "b"])
    best = max(f1_score(truth[:, 0], probability[:, 0] >= cut) for cut in np.linspace(0, 1, 201))
    assert tuned[0].f1 == pytest.approx(best, abs=0.003)
    assert tuned[0].f1 == pytest.approx(f1_score(truth[:, 0], probability[:, 0] >= tuned[0].value))


def test_no_positive_row_at_all_keeps_a_half():
    tuned = tune_thresholds(np.array([[0.3, 0.9]]), np.zeros((1, 2), dtype=bool), ["a", "b"])
    assert [(each.value, each.f1, each.support) for each in tuned] == [(0.5, None, 0)] * 2


def test_a_probability_at_its_threshold_counts():
    assert labels_over(np.array([[0.5, 0.49]]), [0.5, 0.5], ["a", "b"]) == [["a"]]


def test_neighbouring_floats_are_told_apart():
    high = np.nextafter(0.5, 1)
    probability, truth = np.array([[high], [0.5]]), np.array([[True], [False]])
    (tuned,) = tune_thresholds(probability, truth, ["a"])
    assert labels_over(probability, [tuned.value], ["a"]) == [["a"], []]


def test_probabilities_that_are_not_numbers_are_refused():
    with pytest.raises(TrainingError, match="probabilities of 1 of 2 validation rows are not numbers"):
        tune_thresholds(np.array([[np.nan], [0.5]]), np.array([[True], [False]]), ["a"])
