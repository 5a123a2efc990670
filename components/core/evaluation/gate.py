"""The gate: one pure function from the measured differences to a verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from components.core.evaluation.bootstrap import fewest_changes
from components.core.evaluation.results import (
    IN_UNITS,
    METRIC_LABELS,
    Difference,
    ModelName,
    Slice,
    Verdict,
    show,
    show_signed,
)
from components.core.metrics.regression import LOWER_IS_BETTER

# Sums of F1 scores that cancel out leave differences of about 1e-17: a bound must clear this to count as above another.
_ROUNDING = 1e-9

Demand = Literal["better", "not_worse", "ignore"]
Answered = Literal["better", "no_shown_loss", "ignore"]
Rule = tuple[str, str]
"""Outcome (`better` when the rule is met) and reason."""


class Rules(Protocol):
    """What `judge` asks of a rule; the recipe's gate section is one."""

    @property
    def enabled(self) -> bool:
        """False lets every model pass, with a warning."""

    @property
    def metric(self) -> str:
        """Whose differences are tested."""

    @property
    def minimum(self) -> Mapping[Any, float]:
        """Smallest score of the tuned model by metric; of an error the largest."""

    @property
    def min_improvement(self) -> float:
        """The lower bound of (tuned - base) must lie above this."""

    @property
    def has_answer(self) -> Answered:
        """Against the base on the rows that have an answer."""

    @property
    def champion(self) -> Demand:
        """Against the registered champion."""

    @property
    def tolerance(self) -> float:
        """How much worse the lower bound may be with `not_worse`."""


@dataclass(frozen=True)
class MetricRules:
    """Rules for one metric of a model with a head."""

    metric: str
    enabled: bool = True
    minimum: Mapping[Any, float] = field(default_factory=dict)
    min_improvement: float = 0.0
    has_answer: Answered = "ignore"
    champion: Demand = "not_worse"
    bag_of_words: Demand = "ignore"
    tolerance: float = 0.02


def judge(
    gate: Rules,
    everything: Slice,
    same_weights: frozenset[ModelName],
    confidence: float,
    has_answer: Slice | None = None,
    more: Sequence[Rule] = (),
) -> Verdict:
    """Decide whether the tuned model may go on.

    Args:
        gate: The rule.
        everything: Scores and differences on all test rows.
        same_weights: Models whose weights are those of the tuned model.
        confidence: Coverage of the intervals, 0 to 1.
        has_answer: The same on the rows that have an answer, where there are others too.
        more: Rules about something else than the test rows, already applied.
    """
    rules = [
        _against_base(gate, everything, "base" in same_weights, confidence),
        _where_answered(gate, has_answer, confidence),
        *_minimums(gate, everything),
        _against_other(gate, "bag_of_words", getattr(gate, "bag_of_words", "ignore"), everything, False, confidence),
        _against_other(gate, "champion", gate.champion, everything, "champion" in same_weights, confidence),
        *more,
    ]
    applied = [rule for rule in rules if rule is not None]
    failed = [(outcome, reason) for outcome, reason in applied if outcome != "better"]
    reasons = [reason for _, reason in failed or applied]
    outcome = failed[0][0] if failed else "better"
    verdict = Verdict.model_validate(
        {
            "status": "refused" if failed else "passed",
            "outcome": outcome,
            "headline": f"{'REFUSED' if failed else 'PASSED'}: {reasons[0]}",
            "reasons": reasons,
            "warnings": [] if failed else _only_abstains(gate, has_answer, confidence),
        }
    )
    return verdict if gate.enabled else _wave_through(verdict)


def _wave_through(verdict: Verdict) -> Verdict:
    would = "have passed it" if verdict.passed else "have refused it"
    return verdict.model_copy(
        update={
            "status": "passed",
            "headline": f"PASSED WITH THE GATE OFF (it would {would}): {verdict.reasons[0]}",
            "warnings": [*verdict.warnings, f"The gate is switched off (gate.enabled is false); it would {would}."],
        }
    )


def _against_base(gate: Rules, everything: Slice, same: bool, confidence: float) -> Rule:
    label, gap = METRIC_LABELS[gate.metric], everything.differences["base"][gate.metric]
    numbers = f"(difference {describe(gap, confidence, gate.metric)})"
    if same:
        return "no difference", f"the tuned model has the same weights as the base {numbers}"
    if _is_worse(gap, confidence):
        return "worse", f"{label} of the tuned model is worse than the base {numbers}"
    if gap.low <= _ROUNDING:
        return "no difference", f"{label} of the tuned model is not better than the base {numbers}"
    if gap.changed < fewest_changes(confidence):
        return "no difference", _too_few(label, "base", gap, numbers, confidence)
    if gap.low <= gate.min_improvement + _ROUNDING:
        wanted = _amount(gate.metric, gate.min_improvement)
        return "too small a gain", (
            f"{label} of the tuned model is better than the base, but not surely by more than {wanted} {numbers}"
        )
    return "better", f"{label} of the tuned model is better than the base {numbers}"


def _where_answered(gate: Rules, has_answer: Slice | None, confidence: float) -> Rule | None:
    """A model that only learned to say that there is no answer gains on the whole, and may lose where there is one."""
    if has_answer is None or gate.has_answer == "ignore":
        return None
    gap = has_answer.differences["base"][gate.metric]
    what = f"{METRIC_LABELS[gate.metric]} of the tuned model on the rows that have an answer"
    numbers = f"(difference {describe(gap, confidence, gate.metric)})"
    if gate.has_answer == "better":
        if gap.low <= _ROUNDING or gap.changed < fewest_changes(confidence):
            return "no difference", f"{what} is not better than the base {numbers}"
        return "better", f"{what} is better than the base {numbers}"
    if _is_worse(gap, confidence):
        return "worse", f"{what} is worse than the base {numbers}"
    return "better", f"{what} is not shown to be worse than the base {numbers}"


def _only_abstains(gate: Rules, has_answer: Slice | None, confidence: float) -> list[str]:
    if has_answer is None or gate.has_answer == "better":
        return []
    gap = has_answer.differences["base"][gate.metric]
    if gap.low > _ROUNDING and gap.changed >= fewest_changes(confidence):
        return []
    return [
        "The gain is not shown on the rows that have an answer: the model may have learned only to say that there is "
        "none. gate.has_answer=better refuses such a model."
    ]


def _minimums(gate: Rules, everything: Slice) -> list[Rule]:
    rules: list[Rule] = []
    for metric, minimum in gate.minimum.items():
        score, falls = everything.scores["tuned"][metric].value, metric in LOWER_IS_BETTER
        what = f"{METRIC_LABELS[metric]} of the tuned model is {show(metric, score)}"
        limit = "maximum" if falls else "minimum"
        if (minimum - score if falls else score - minimum) < -_ROUNDING:
            side = "above" if falls else "below"
            rules.append(("below minimum", f"{what}, {side} the {limit} {show(metric, minimum)}"))
        else:
            rules.append(("better", f"{what}, the {limit} is {show(metric, minimum)}"))
    return rules


_OTHERS: dict[ModelName, tuple[str, str]] = {
    "champion": ("the registered champion", "the champion"),
    "bag_of_words": ("the bag-of-words floor", "bag of words"),
}
"""What the verdict calls a model, and its outcome."""


def _against_other(
    gate: Rules, other: ModelName, demand: Demand, everything: Slice, same: bool, confidence: float
) -> Rule | None:
    if other not in everything.differences or demand == "ignore":
        return None
    name, outcome = _OTHERS[other]
    label, gap = METRIC_LABELS[gate.metric], everything.differences[other][gate.metric]
    numbers = f"(difference {describe(gap, confidence, gate.metric)})"
    if same:
        return "no difference", f"no difference from {name}, which is the same model {numbers}"
    if gap.changed == 0:
        return "no difference", f"no difference from {name}, which scores the same on every row {numbers}"
    if demand == "not_worse":
        allowed = _amount(gate.metric, gate.tolerance)
        if not is_not_worse(gap, gate.tolerance):
            return f"worse than {outcome}", (
                f"{label} of the tuned model may be more than {allowed} below {name} {numbers}"
            )
        return "better", f"{label} of the tuned model is not more than {allowed} below {name} {numbers}"
    if gap.low <= _ROUNDING:
        return f"not better than {outcome}", f"{label} of the tuned model is not better than {name} {numbers}"
    if gap.changed < fewest_changes(confidence):
        return f"not better than {outcome}", _too_few(label, name.removeprefix("the "), gap, numbers, confidence)
    return "better", f"{label} of the tuned model is better than {name} {numbers}"


def is_not_worse(gap: Difference, tolerance: float) -> bool:
    """Whether a loss of `tolerance` or more is ruled out: the interval's lower bound lies above its negative."""
    return gap.low > -tolerance + _ROUNDING


def _is_worse(gap: Difference, confidence: float) -> bool:
    return gap.high < -_ROUNDING and gap.changed >= fewest_changes(confidence)


def _too_few(label: str, other: str, gap: Difference, numbers: str, confidence: float) -> str:
    return (
        f"{label} of the tuned model is not shown to be better than the {other}: the score changed in only "
        f"{gap.changed} places, and {fewest_changes(confidence)} are needed to rule out chance {numbers}"
    )


def describe(gap: Difference, confidence: float, metric: str = "f1") -> str:
    """A difference with its interval in words: `+0.3 points, 95 % interval -1.1 to +1.7`."""
    low, high = show_signed(metric, gap.low), show_signed(metric, gap.high)
    unit = "" if metric in IN_UNITS else " points"
    return f"{show_signed(metric, gap.value)}{unit}, {100 * confidence:g} % interval {low} to {high}"


def _amount(metric: str, value: float) -> str:
    return show(metric, value) + ("" if metric in IN_UNITS else " points")
