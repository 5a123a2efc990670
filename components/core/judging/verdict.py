"""From scores to a verdict: means with intervals, coverage, and whether the model is good enough.

One instruction is one observation: its answers and their judgements are not independent, so they are averaged first.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt

from components.core.evaluation.bootstrap import Estimate, estimate_means
from components.core.judging.config import JudgeConfig
from components.core.judging.sequential import (
    BETTING_SHARE,
    FIRST_LOOK,
    HOPELESS,
    ConfidenceSequence,
    chance_to_decide,
    critical_value,
    passes_needed,
    spend,
    variances,
)

Scores = npt.NDArray[np.float64]
"""Similarity and precision by instruction and pass, shape (instructions, passes, 2); NaN where there is none."""
Word = Literal["qualified", "not qualified", "undecided"]

FEWEST_INSTRUCTIONS = 10
"""Below this many, no interval is worth its name and nothing is decided."""
_WHOLE = Estimate(math.nan, 0.0, 100.0)


@dataclass(frozen=True)
class Verdict:
    """What the judgements say of the model."""

    word: Word
    reason: str
    qualification: bool
    """Both means reach their thresholds, as points; the word rests on the intervals."""
    similarity: Estimate
    precision: Estimate
    coverage: Estimate
    """Share of the instructions where both scores reach their thresholds, in percent."""
    instructions: int
    """Those with a judgement, on which all this rests."""
    judgements: int


class Watch:
    """Follows the judgements in the order of the plan, and says when there is a verdict.

    Args:
        sizes: Judgements of each pass.
        instructions: Number of instructions.
        config: Thresholds, confidence and whether to stop early.
    """

    def __init__(self, sizes: Sequence[int], instructions: int, config: JudgeConfig) -> None:
        self._sizes, self._config = list(sizes), config
        self.scores: Scores = np.full((instructions, len(self._sizes), 2), np.nan)
        self.verdict: Verdict | None = None
        self._pass, self._done = 0, 0
        error = 1 - config.confidence
        self._betting = BETTING_SHARE * error
        self._looking = error - self._betting
        self._sequences = [ConfidenceSequence(self._betting) for _ in range(2)]
        self._used: list[list[float]] = [[], []]
        self._looks: list[int] = []
        self._final = len(self._sizes)

    def add(self, instruction: int, scores: tuple[float, float] | None) -> None:
        """Take the next judgement of the plan; None where it failed."""
        if self.verdict is not None:
            return
        if scores is not None:
            self.scores[instruction, self._pass] = scores
        self._done += 1
        if scores is not None and self._config.sequential and self._pass == 0:
            for sequence, score in zip(self._sequences, scores, strict=True):
                sequence.add(score / 100)
            self._bet()
        if self.verdict is None and self._done == self._sizes[self._pass]:
            self._pass, self._done = self._pass + 1, 0
            self._end_pass()

    def _bet(self) -> None:
        bounds = [Estimate(math.nan, 100 * low, 100 * high) for low, high in (s.bounds for s in self._sequences)]
        word = decide(bounds, self._config)
        if word != "undecided" and self._judged >= FEWEST_INSTRUCTIONS:
            self.verdict = self._say(word, bounds, "certain before every instruction was judged")

    def _end_pass(self) -> None:
        count, last = self._pass, self._pass == len(self._sizes)
        if not self._config.sequential:
            if last:
                self.verdict = self._look(1 - self._config.confidence, None, "every judgement was made")
            return
        if count > 1:
            self._final = max(passes_needed(*variances(self.scores[:, :count, k]), len(self._sizes)) for k in range(2))
        final = last or count >= self._final
        if not final and count & (count - 1):
            return  # looks at 1, 2, 4, 8, ... passes: each look costs some of the allowed error
        self._looks.append(count)
        values = [self._critical(k, final) for k in range(2)]
        for used, value in zip(self._used, values, strict=True):
            used.append(value)
        why = "every judgement was made" if last else "more judgements of the same answers would not change it"
        if not final:
            why = f"certain after {count} of {len(self._sizes)} passes"
        verdict = self._look(self._looking, values, why)
        if not final and verdict.word == "undecided" and count > 1 and self._is_hopeless():
            verdict, final = replace(verdict, reason="more judgements would hardly decide it"), True
        if final or verdict.word != "undecided":
            self.verdict = verdict

    def _is_hopeless(self) -> bool:
        """Whether neither verdict is likely to come of all passes that are left."""
        chances = []
        thresholds = (self._config.avg_similarity_threshold, self._config.avg_precision_threshold)
        for metric, threshold in enumerate(thresholds):
            between, within = variances(self.scores[:, : self._pass, metric])
            now, then = (1e-6 + between + within / passes for passes in (self._pass, self._final))
            distance = (self._means[metric] - threshold) / math.sqrt(now / self._judged)
            chances.append(chance_to_decide(distance, then / now, self._looking))
        return max(min(above for above, _ in chances), max(below for _, below in chances)) < HOPELESS

    def _critical(self, metric: int, final: bool) -> float:
        """Critical value of this look at one score."""
        if final and len(self._looks) == 1:
            return critical_value([1.0], [], self._looking)
        if len(self._looks) == 1:
            return critical_value([FIRST_LOOK], [], spend(FIRST_LOOK, self._looking))
        between, within = variances(self.scores[:, : self._pass, metric])
        floor = 1e-6 + between + within / max(self._final, self._pass)
        information = [floor / (1e-6 + between + within / look) for look in self._looks]
        if final:
            information[-1] = 1.0
        return critical_value(information, self._used[metric], spend(information[-1], self._looking))

    def _look(self, error: float, values: list[float] | None, why: str) -> Verdict:
        if self._judged < FEWEST_INSTRUCTIONS:
            reason = f"only {self._judged} instructions were judged, and a verdict needs {FEWEST_INSTRUCTIONS}"
            return self._say("undecided", [_WHOLE, _WHOLE], reason)
        levels = [error] * 2 if values is None else [math.erfc(value / math.sqrt(2)) for value in values]
        bounds = [self._interval(k, level) for k, level in enumerate(levels)]
        return self._say(decide(bounds, self._config), bounds, why)

    def _interval(self, metric: int, error: float) -> Estimate:
        means = self._by_instruction[:, metric : metric + 1]
        return interval(means, error, self._config.bootstrap_samples, self._config.seed)

    def _say(self, word: Word, bounds: list[Estimate], reason: str) -> Verdict:
        means = self._means
        similarity, precision = (Estimate(m, b.low, b.high) for m, b in zip(means, bounds, strict=True))
        thresholds = (self._config.avg_similarity_threshold, self._config.avg_precision_threshold)
        covered = int(np.sum(np.all(self._by_instruction >= np.asarray(thresholds), axis=1)))
        return Verdict(
            word=word,
            reason=reason,
            qualification=bool(means[0] >= thresholds[0] and means[1] >= thresholds[1]),
            similarity=similarity,
            precision=precision,
            coverage=share(covered, self._judged, self._config.confidence),
            instructions=self._judged,
            judgements=int(np.sum(~np.isnan(self.scores[:, :, 0]))),
        )

    @property
    def _by_instruction(self) -> Scores:
        """Mean scores of each instruction that has a judgement."""
        judged = ~np.isnan(self.scores[:, :, 0]).all(axis=1)
        found: Scores = np.nanmean(self.scores[judged], axis=1) if judged.any() else np.zeros((0, 2))
        return found

    @property
    def _judged(self) -> int:
        return int(np.sum(~np.isnan(self.scores[:, :, 0]).all(axis=1)))

    @property
    def _means(self) -> tuple[float, float]:
        found = self._by_instruction
        return (float(found[:, 0].mean()), float(found[:, 1].mean())) if len(found) else (math.nan, math.nan)


def decide(bounds: Sequence[Estimate], config: JudgeConfig) -> Word:
    """Good enough where both intervals lie above their thresholds, not where one lies below, else nobody knows."""
    pairs = list(zip(bounds, (config.avg_similarity_threshold, config.avg_precision_threshold), strict=True))
    if all(bound.low >= threshold for bound, threshold in pairs):
        return "qualified"
    return "not qualified" if any(bound.high < threshold for bound, threshold in pairs) else "undecided"


def share(count: int, of: int, confidence: float) -> Estimate:
    """A share in percent with its Wilson interval, which is no point where all or none are in it."""
    if not of:
        return _WHOLE
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    part, middle = count / of, (count + z * z / 2) / (of + z * z)
    reach = z / (of + z * z) * math.sqrt(count * (1 - part) + z * z / 4)
    return Estimate(100 * part, 100 * max(0.0, middle - reach), 100 * min(1.0, middle + reach))


def interval(means: Scores, error: float, samples: int, seed: int) -> Estimate:
    """Bootstrap interval of the mean of one column, a row for each instruction.

    The percentiles are taken further out, by as much as Student's t with its lost degree of freedom is wider than the
    normal: without that, intervals of a few dozen instructions miss the mean too often.
    """
    from scipy.stats import norm, t

    count = len(means)
    if count < 2:
        return Estimate(float(means.mean()) if count else math.nan, 0.0, 100.0)
    reach = float(t.isf(error / 2, count - 1)) * math.sqrt(count / (count - 1))
    level = float(1 - 2 * norm.sf(reach))
    groups = np.arange(count, dtype=np.intp)
    return estimate_means(means, groups, samples, level, seed)[0]
