"""When judging may stop: sequential tests of a mean score against its threshold.

In the first pass, in which each instruction is judged once, a betting confidence sequence watches: it holds at every
moment for any bounded scores, however they are distributed (Waudby-Smith & Ramdas 2023). At the end of a pass the means
by instruction are tested with group-sequential bounds (Lan & DeMets 1983), which count how often was looked. The two
share the error that is allowed.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

BETTING_SHARE = 0.1
"""Share of the allowed error that the confidence sequence may use; the looks at the passes' ends have the rest."""
ENOUGH_INFORMATION = 0.95
"""Passes go on until the interval is what this share of the information of all passes gives: more changes nothing."""
HOPELESS = 0.1
"""Chance of a decision below which further passes are not worth their calls."""
_STEPS = 400
_BOLDNESS = 0.9
"""Share of the capital that a single score may cost."""
FIRST_LOOK = 0.6
"""Information of the first pass, before the second tells how much the judgements of one instruction differ."""


class ConfidenceSequence:
    """Bounds of a mean that hold after every value at once; values and bounds from 0 to 1.

    Args:
        error: Chance that the mean is ever outside, on either side half of it.
    """

    def __init__(self, error: float) -> None:
        self._means = (np.arange(1, 1000) / 1000.0).astype(np.float64)
        self._below, self._above = np.zeros(999), np.zeros(999)
        self._ruined = math.log(2 / error)
        self._low, self._high = 0.0, 1.0
        # one made-up value of 1/2, so that the first bets are small
        self._count, self._sum, self._squares = 1, 0.5, 0.25

    @property
    def bounds(self) -> tuple[float, float]:
        """The narrowest so far."""
        return self._low, self._high

    def add(self, value: float) -> None:
        """Bet against each mean what the values before say, and take the outcome."""
        estimate, variance = self._sum / self._count, self._squares / self._count
        gaps = estimate - self._means
        stakes = gaps / (variance + gaps * gaps)
        upwards = np.clip(stakes, 0, _BOLDNESS / self._means)
        downwards = np.clip(-stakes, 0, _BOLDNESS / (1 - self._means))
        self._below += np.log1p(upwards * (value - self._means))
        self._above += np.log1p(-downwards * (value - self._means))
        self._count += 1
        self._sum += value
        self._squares += (value - self._sum / self._count) ** 2
        lost = self._below >= self._ruined
        # a mean is out only with all lower ones, which keeps the bounds valid between the points of the grid
        place = int(np.argmin(lost)) if not lost.all() else len(lost)
        self._low = max(self._low, float(self._means[place - 1]) if place else 0.0)
        lost = self._above[::-1] >= self._ruined
        place = int(np.argmin(lost)) if not lost.all() else len(lost)
        self._high = min(self._high, float(self._means[-place]) if place else 1.0)


def spend(information: float, error: float) -> float:
    """How much of the error, half of it a side, may be used up to a share of the information (O'Brien-Fleming)."""
    return 4 * _tail(_quantile(error / 4) / math.sqrt(min(1.0, information)))


def variances(scores: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Variance between instructions, and within one, of a score by instruction and pass; missing ones are NaN."""
    counts = np.sum(~np.isnan(scores), axis=1)
    if not counts.any():
        return 0.0, 0.0
    several = scores[counts > 1]
    within = float(np.mean(np.nanvar(several, axis=1, ddof=1))) if len(several) else 0.0
    means = np.nanmean(scores[counts > 0], axis=1)
    total = float(np.var(means, ddof=1)) if len(means) > 1 else 0.0
    return max(0.0, total - within / float(np.mean(counts[counts > 0]))), within


def chance_to_decide(distance: float, information: float, error: float) -> tuple[float, float]:
    """Chances that the last look finds the mean above, and below, its threshold if what was seen so far goes on.

    Args:
        distance: Mean minus threshold, in standard errors of now.
        information: Share of the information that there is now, below 1.
        error: Of the last look, both sides together.
    """
    needed = _quantile(error / 2)
    drift, deviation = distance / math.sqrt(information), math.sqrt(max(1e-9, 1 - information))
    return _tail((needed - drift) / deviation), _tail((needed + drift) / deviation)


def passes_needed(between: float, within: float, all_passes: int) -> int:
    """Passes that give almost all the information of all passes."""
    wanted = (between + within / all_passes) / ENOUGH_INFORMATION
    return min(all_passes, max(1, math.ceil(within / (wanted - between)))) if wanted > between else 1


def critical_value(information: Sequence[float], used: Sequence[float], error: float) -> float:
    """Two-sided critical value of the last look, such that all looks so far err with the given chance.

    Args:
        information: Share of the information at each look, rising, the last one included.
        used: Critical values of the looks before.
        error: Chance that any look so far errs.
    """
    times = [round(each, 3) for each in information]
    for place in range(1, len(times)):
        times[place] = max(times[place], round(times[place - 1] + 0.005, 3))
    return _critical_value(tuple(times), tuple(round(each, 3) for each in used), round(error, 6))


@lru_cache(maxsize=4096)
def _critical_value(times: tuple[float, ...], used: tuple[float, ...], error: float) -> float:
    from scipy.special import ndtr

    if not used:
        return _quantile(error / 2)
    density, grid, crossed = None, np.zeros(1), 0.0
    for place, bound in enumerate(used):
        edge = bound * math.sqrt(times[place])
        points = np.linspace(-edge, edge, _STEPS + 1)
        if density is None:
            after = _normal(points / math.sqrt(times[0])) / math.sqrt(times[0])
            crossed += 2 * _tail(bound)
        else:
            deviation = math.sqrt(times[place] - times[place - 1])
            crossed += _crossing(density, grid, edge, deviation, ndtr)
            after = _normal((points[:, None] - grid[None, :]) / deviation) @ density / deviation
        weights = np.full(len(points), 2 * edge / _STEPS)
        weights[[0, -1]] /= 2
        density, grid = after * weights, points
    assert density is not None
    deviation, root = math.sqrt(times[-1] - times[-2]), math.sqrt(times[-1])
    low, high = 0.0, 10.0
    for _ in range(40):
        middle = (low + high) / 2
        too_often = crossed + _crossing(density, grid, middle * root, deviation, ndtr) > error
        low, high = (middle, high) if too_often else (low, middle)
    return high


def _crossing(density: Vector, grid: Vector, edge: float, deviation: float, ndtr: object) -> float:
    outside = ndtr((grid - edge) / deviation) + ndtr((-edge - grid) / deviation)  # type: ignore[operator]
    return float(density @ outside)


def _normal(values: Vector) -> Vector:
    return np.asarray(np.exp(-values * values / 2) / math.sqrt(2 * math.pi))


def _tail(value: float) -> float:
    return 0.5 * math.erfc(value / math.sqrt(2))


def _quantile(tail: float) -> float:
    return -NormalDist().inv_cdf(max(tail, 1e-12))
