"""Regression metrics, held against scikit-learn and scipy."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from components.core.errors import TrainingError
from components.core.metrics.regression import REGRESSION_METRICS, score_regression, score_regression_rows

numbers = st.integers(-40, 40).map(lambda quarter: quarter / 4)
pairs = st.lists(st.tuples(numbers, numbers), min_size=2, max_size=30)


@given(pairs)
@settings(deadline=None, max_examples=20)
def test_every_metric_equals_scikit_learn_and_scipy_with_ties(rows):
    from scipy.stats import pearsonr, spearmanr
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    wanted, found = map(list, zip(*rows, strict=True))
    assume(len(set(wanted)) > 1)
    assume(len(set(found)) > 1)
    expected = {
        "mae": mean_absolute_error(wanted, found),
        "rmse": root_mean_squared_error(wanted, found),
        "r2": r2_score(wanted, found),
        "pearson": pearsonr(wanted, found).statistic,
        "spearman": spearmanr(wanted, found).statistic,
    }
    assert score_regression(wanted, found).values == pytest.approx(expected, abs=1e-9)


def test_three_rows_by_hand():
    scores = score_regression([1.0, 2.0, 3.0], [1.0, 2.0, 5.0])
    assert scores.values["mae"] == pytest.approx(2 / 3)
    assert scores.values["rmse"] == pytest.approx(math.sqrt(4 / 3))
    assert scores.values["r2"] == -1.0
    assert scores.values["spearman"] == pytest.approx(1.0)
    assert scores.undefined == {}


@pytest.mark.parametrize(
    ("wanted", "found", "undefined"),
    [
        ([2, 2, 2], [1, 2, 3], dict.fromkeys(("r2", "pearson", "spearman"), "all 3 targets are the same number")),
        ([1, 2, 3], [2, 2, 2], dict.fromkeys(("pearson", "spearman"), "all 3 predictions are the same number")),
        ([1], [2], dict.fromkeys(("r2", "pearson", "spearman"), "one row alone does not vary")),
        ([], [], dict.fromkeys(REGRESSION_METRICS, "there are no rows")),
        ([1, 2], [math.nan, math.inf], dict.fromkeys(REGRESSION_METRICS, "2 of 2 predictions are not numbers")),
    ],
)
def test_an_undefined_metric_is_none_and_says_why(wanted, found, undefined):
    scores = score_regression(wanted, found)
    assert scores.undefined == undefined
    assert {name for name, value in scores.values.items() if value is None} == set(undefined)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_numbers_beyond_the_range_of_their_squares_are_undefined_and_never_nan(scale):
    scores = score_regression([scale, 2 * scale, 3 * scale], [scale, 3 * scale, 2 * scale])
    assert all(value is None or math.isfinite(value) for value in scores.values.values())
    assert scores.undefined["r2"] == "the numbers are too large, or too close together, to compute it"
    assert scores.values["spearman"] == pytest.approx(0.5)


@given(pairs)
@settings(deadline=None, max_examples=20)
def test_row_scores_average_to_r_squared_and_minus_mae(rows):
    wanted, found = map(list, zip(*rows, strict=True))
    assume(len(set(wanted)) > 1)
    values = score_regression(wanted, found).values
    scores = score_regression_rows(wanted, found)
    assert np.mean([row["r2"] for row in scores]) == pytest.approx(values["r2"], abs=1e-9)
    assert np.mean([row["negative_absolute_error"] for row in scores]) == pytest.approx(-values["mae"])


def test_row_scores_of_targets_that_do_not_vary_have_no_r_squared():
    assert score_regression_rows([1.0, 1.0], [1.0, 3.0]) == [
        {"negative_absolute_error": 0.0},
        {"negative_absolute_error": -2.0},
    ]


def test_row_scores_refuse_predictions_that_are_not_numbers():
    with pytest.raises(TrainingError, match="1 of 2 predictions are not numbers: training has diverged"):
        score_regression_rows([1.0, 2.0], [1.0, math.nan])
