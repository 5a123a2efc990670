"""Single-label metrics, held against scikit-learn."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.core.metrics.classification import (
    CLASSIFICATION_METRICS,
    calibrate,
    one_vs_rest_auc,
    score_classification,
    score_classification_rows,
)

LABELS = ["a", "b", "c", "d"]
pairs = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS[:3])), min_size=1, max_size=30)


def from_scikit_learn(wanted, found):
    from sklearn import metrics

    numbers = {"accuracy": metrics.accuracy_score(wanted, found), "mcc": metrics.matthews_corrcoef(wanted, found)}
    for average in ("macro", "micro", "weighted"):
        numbers[f"f1_{average}"] = metrics.f1_score(wanted, found, average=average, zero_division=0)
    numbers["precision_macro"] = metrics.precision_score(wanted, found, average="macro", zero_division=0)
    numbers["recall_macro"] = metrics.recall_score(wanted, found, average="macro", zero_division=0)
    return numbers


def assert_equal_to_scikit_learn(wanted, found, labels):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = from_scikit_learn(wanted, found)
    values = score_classification(wanted, found, labels).values
    assert {name: values[name] for name in expected} == pytest.approx(expected, abs=1e-12)


@given(pairs)
@settings(deadline=None, max_examples=20)
def test_every_metric_equals_scikit_learn_whatever_labels_occur(rows):
    assert_equal_to_scikit_learn(*map(list, zip(*rows, strict=True)), LABELS[:3])


def test_a_hundred_and_fifty_classes_equal_scikit_learn():
    from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

    random = np.random.default_rng(0)
    labels = [f"intent {number:03}" for number in range(150)]
    wanted = [*labels, *random.choice(labels, 850)]
    probabilities = random.dirichlet(np.full(150, 0.1), 1000).round(3) + 1e-6
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    found = [labels[place] for place in probabilities.argmax(axis=1)]
    assert_equal_to_scikit_learn(wanted, found, labels)
    scores = score_classification(wanted, found, labels, probabilities)
    assert scores.values["auc"] == pytest.approx(roc_auc_score(wanted, probabilities, multi_class="ovr"), abs=1e-12)
    expected = precision_recall_fscore_support(wanted, found, labels=labels, zero_division=0)
    table = [(row.precision, row.recall, row.f1, row.support) for row in scores.labels]
    np.testing.assert_allclose(table, np.transpose(expected))


def test_three_rows_by_hand():
    scores = score_classification(["a", "a", "b"], ["a", "b", "b"], ["a", "b"])
    assert scores.confusion == [[1, 1], [0, 1]]
    assert [(row.precision, row.recall, row.support, row.predicted) for row in scores.labels] == [
        (1.0, 0.5, 2, 1),
        (0.5, 1.0, 1, 2),
    ]
    assert scores.values["accuracy"] == pytest.approx(2 / 3)
    assert scores.values["f1_macro"] == pytest.approx(2 / 3)
    assert scores.values["mcc"] == pytest.approx(0.5)
    assert scores.undefined == {name: "there are no probabilities" for name in ("auc", "calibration_error")}


def test_a_label_the_model_never_saw_is_in_the_table_and_can_only_be_missed():
    scores = score_classification(["a", "new"], ["a", "a"], ["a", "b"], np.array([[0.9, 0.1], [0.6, 0.4]]))
    assert [(row.label, row.recall, row.support) for row in scores.labels] == [("a", 1, 1), ("b", 0, 0), ("new", 0, 1)]
    assert scores.values["recall_macro"] == 0.5
    assert scores.values["auc"] == 1.0


def test_one_class_has_no_auc_and_says_why():
    scores = score_classification(["a", "a"], ["a", "a"], ["a"], np.ones((2, 1)))
    assert (scores.values["accuracy"], scores.values["mcc"], scores.values["auc"]) == (1.0, 0.0, None)
    assert scores.undefined == {"auc": "no label of the model has both rows with it and rows without it"}


def test_no_rows_give_no_numbers():
    scores = score_classification([], [], ["a", "b"], np.empty((0, 2)))
    assert scores.values == dict.fromkeys(CLASSIFICATION_METRICS)
    assert set(scores.undefined.values()) == {"there are no rows"}
    assert [row.support for row in scores.labels] == [0, 0]
    assert score_classification_rows([], []) == []


def test_probabilities_that_are_not_numbers_leave_auc_and_calibration_undefined():
    scores = score_classification(["a", "b"], ["a", "b"], ["a", "b"], np.array([[math.nan, 1], [0.2, 0.8]]))
    assert scores.values["accuracy"] == 1.0
    assert scores.undefined["auc"] == "the probabilities of 1 of 2 rows are not numbers"


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=2, max_size=30))
@settings(deadline=None, max_examples=20)
def test_auc_of_two_labels_equals_scikit_learn_with_ties(rows):
    from sklearn.metrics import roc_auc_score

    positive = [yes for yes, _ in rows]
    if len(set(positive)) < 2:
        return
    second = np.array([eighths / 8 for _, eighths in rows])
    found = one_vs_rest_auc(
        ["yes" if yes else "no" for yes in positive], ["no", "yes"], np.stack([1 - second, second], axis=1)
    )
    assert found == pytest.approx(roc_auc_score(positive, second), abs=1e-12)


def test_calibration_compares_confidence_with_accuracy_in_each_bin():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
    scores = score_classification(["a", "b", "b", "b"], ["a", "a", "b", "b"], ["a", "b"], probabilities)
    bins = {round(each.confidence, 2): (each.rows, each.accuracy) for each in scores.calibration}
    assert bins == {0.9: (2, 0.5), 0.8: (1, 1.0), 0.6: (1, 1.0)}
    assert scores.values["calibration_error"] == pytest.approx((2 * 0.4 + 0.2 + 0.4) / 4)


def test_calibration_bins_agree_with_scikit_learn():
    from sklearn.calibration import calibration_curve

    random = np.random.default_rng(1)
    confidence, right = random.uniform(size=500), random.uniform(size=500) < 0.7
    share, mean = calibration_curve(right, confidence, n_bins=15)
    bins = calibrate(confidence, right)
    np.testing.assert_allclose([each.accuracy for each in bins], share)
    np.testing.assert_allclose([each.confidence for each in bins], mean)
    assert sum(each.rows for each in bins) == 500


@given(pairs)
@settings(deadline=None, max_examples=20)
def test_row_scores_average_to_accuracy_and_balanced_accuracy(rows):
    from sklearn.metrics import accuracy_score, balanced_accuracy_score

    wanted, found = map(list, zip(*rows, strict=True))
    scores = score_classification_rows(wanted, found)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.mean([row["accuracy"] for row in scores]) == pytest.approx(accuracy_score(wanted, found))
        assert np.mean([row["recall_macro"] for row in scores]) == pytest.approx(balanced_accuracy_score(wanted, found))
