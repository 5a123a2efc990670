import numpy as np
import pytest

from components.core.evaluation.bootstrap import (
    MIN_GROUPS,
    count_changed,
    estimate_means,
    fewest_changes,
    group_numbers,
)


def column(values):
    return np.asarray(values, dtype=float)[:, None]


def alone(count):
    return np.arange(count)


def test_the_interval_of_a_mean_covers_the_truth_about_as_often_as_it_promises():
    generator = np.random.default_rng(1)
    hits = 0
    for trial in range(300):
        sample = generator.random(150) < 0.7
        (found,) = estimate_means(column(sample), alone(150), 400, 0.95, seed=trial)
        hits += found.low <= 0.7 <= found.high
    assert 0.91 <= hits / 300 <= 0.985


def test_a_narrower_confidence_gives_a_narrower_interval():
    values = column(np.random.default_rng(0).random(80))
    (wide,) = estimate_means(values, alone(80), 500, 0.95, seed=0)
    (narrow,) = estimate_means(values, alone(80), 500, 0.6, seed=0)
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_two_models_without_a_true_difference_rarely_look_different():
    generator = np.random.default_rng(2)
    alarms = 0
    for trial in range(300):
        gaps = generator.choice([-1.0, 0.0, 0.0, 1.0], size=120)
        (found,) = estimate_means(column(gaps), alone(120), 400, 0.95, seed=trial)
        alarms += found.low > 0
    # one side of a 95 % interval: 2.5 % expected
    assert alarms / 300 <= 0.06


def test_drawing_whole_contexts_keeps_the_coverage_where_drawing_rows_does_not():
    generator = np.random.default_rng(3)
    hits = {"contexts": 0, "rows": 0}
    contexts = np.repeat(np.arange(40), 5)
    for trial in range(200):
        easy = generator.random(40) < 0.5
        values = column(np.where(easy[contexts], 0.9, 0.1) > generator.random(200))
        for name, groups in (("contexts", contexts), ("rows", alone(200))):
            (found,) = estimate_means(values, groups, 400, 0.95, seed=trial)
            hits[name] += found.low <= 0.5 <= found.high
    assert hits["contexts"] / 200 >= 0.9
    assert hits["rows"] / 200 <= 0.8


def test_groups_of_unequal_size_are_weighed_by_their_rows():
    values = column([1.0] * 9 + [0.0])
    (found,) = estimate_means(values, np.array([0] * 9 + [1]), 300, 0.95, seed=0)
    assert found.value == pytest.approx(0.9)
    assert (found.low, found.high) == (0.0, 1.0)


def test_the_difference_column_is_paired_and_narrower_than_the_scores():
    generator = np.random.default_rng(4)
    base = generator.random(200)
    tuned = np.clip(base + 0.05, 0, 1)
    first, second, gap = estimate_means(np.stack([base, tuned, tuned - base], 1), alone(200), 500, 0.95, seed=0)
    assert gap.value == pytest.approx(second.value - first.value)
    assert gap.low > 0
    assert gap.high - gap.low < (first.high - first.low) / 5


def test_zero_differences_give_an_interval_of_exactly_zero():
    (found,) = estimate_means(column([0.0] * 50), alone(50), 200, 0.95, seed=0)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_one_row_is_its_own_interval():
    (found,) = estimate_means(column([0.25]), alone(1), 100, 0.95, seed=0)
    assert (found.value, found.low, found.high) == (0.25, 0.25, 0.25)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    values = column(np.random.default_rng(0).random(60))
    first, again, other = (estimate_means(values, alone(60), 200, 0.95, seed=seed)[0] for seed in (7, 7, 8))
    assert first == again
    assert first.low != other.low


def test_a_large_test_set_is_resampled_in_parts_with_the_same_result_shape():
    values = column(np.random.default_rng(0).random(30_000))
    (found,) = estimate_means(values, alone(30_000), 150, 0.95, seed=0)
    assert found.low < found.value < found.high


def test_rows_with_one_context_share_a_group_once_there_are_enough_contexts():
    keys = [f"context {number // 2}" for number in range(2 * MIN_GROUPS)]
    assert list(group_numbers(keys)) == [number // 2 for number in range(2 * MIN_GROUPS)]
    assert list(group_numbers(keys[:-2])) == list(range(2 * MIN_GROUPS - 2))
    assert list(group_numbers([])) == []


def test_changes_that_cancel_out_within_a_context_do_not_count():
    assert count_changed(np.array([0.5, -0.5, 0.0, 1.0]), np.array([0, 0, 1, 2])) == 1


@pytest.mark.parametrize(("confidence", "needed"), [(0.95, 6), (0.99, 8), (0.8, 4)])
def test_the_fewest_changes_are_those_of_a_sign_test(confidence, needed):
    assert fewest_changes(confidence) == needed
    assert 2 * 0.5**needed <= 1 - confidence + 1e-12
