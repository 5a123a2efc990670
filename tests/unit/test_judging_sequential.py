"""Sequential tests of a mean: they err as seldom as they say, however often they look."""

import random

import numpy as np
import pytest
from scipy.stats import norm

from components.core.judging.sequential import (
    ConfidenceSequence,
    critical_value,
    passes_needed,
    spend,
    variances,
)


def test_the_confidence_sequence_misses_the_mean_as_seldom_as_it_says():
    missed = 0
    for seed in range(150):
        dice, sequence = random.Random(seed), ConfidenceSequence(0.1)
        for _ in range(80):
            sequence.add(dice.betavariate(9, 1))
        low, high = sequence.bounds
        missed += not low <= 0.9 <= high
    assert missed <= 0.1 * 150


def test_the_confidence_sequence_narrows_around_the_mean():
    dice, sequence = random.Random(1), ConfidenceSequence(0.05)
    for _ in range(400):
        sequence.add(dice.betavariate(9, 1))
    low, high = sequence.bounds
    assert 0.84 < low < 0.9 < high < 0.94


def test_one_look_has_the_usual_critical_value():
    assert critical_value([1.0], [], 0.05) == pytest.approx(1.96, abs=0.001)


def test_critical_values_are_those_of_the_literature():
    # O'Brien-Fleming spending at halves: 2.963 and 1.969 (Lan & DeMets)
    first = critical_value([0.5], [], spend(0.5, 0.05))
    assert first == pytest.approx(2.963, abs=0.005)
    assert critical_value([0.5, 1.0], [first], 0.05) == pytest.approx(1.969, abs=0.005)


def test_several_looks_err_as_seldom_as_they_say():
    times, used = [0.6, 0.75, 0.9, 1.0], []
    for place in range(4):
        used.append(critical_value(times[: place + 1], used, spend(times[place], 0.05)))
    steps = np.diff([0.0, *times])
    paths = np.cumsum(np.random.default_rng(3).normal(size=(200_000, 4)) * np.sqrt(steps), axis=1)
    crossed = (np.abs(paths) / np.sqrt(times) > used).any(axis=1).mean()
    assert crossed == pytest.approx(0.05, abs=0.003)
    assert used[-1] < norm.isf(0.025) * 1.06


def test_the_variances_between_and_within_are_found():
    dice = np.random.default_rng(5)
    scores = 90 + dice.normal(0, 8, size=(2000, 1)) + dice.normal(0, 5, size=(2000, 4))
    scores[::3, 3] = np.nan
    between, within = variances(scores)
    assert between == pytest.approx(64, rel=0.1)
    assert within == pytest.approx(25, rel=0.1)


@pytest.mark.parametrize(
    ("between", "within", "passes"), [(64.0, 0.0, 1), (64.0, 25.0, 7), (0.0, 25.0, 38), (0.0, 0.0, 1)]
)
def test_passes_are_as_many_as_bring_almost_all_that_all_would(between, within, passes):
    assert passes_needed(between, within, 40) == passes
