"""The gate: one pure function from the measured differences to a verdict."""

from components.core.evaluation.bootstrap import fewest_changes
from components.core.evaluation.results import (
    METRIC_LABELS,
    Difference,
    ModelName,
    Slice,
    Verdict,
    points,
    signed_points,
)
from components.core.recipe import GateConfig

# Sums of F1 scores that cancel out leave differences of about 1e-17: a bound must clear this to count as above another.
_ROUNDING = 1e-9


def judge(
    gate: GateConfig,
    everything: Slice,
    same_weights: frozenset[ModelName],
    confidence: float,
    has_answer: Slice | None = None,
) -> Verdict:
    """Decide whether the tuned model may go on.

    Args:
        gate: The rule.
        everything: Scores and differences on all test rows.
        same_weights: Models whose weights are those of the tuned model.
        confidence: Coverage of the intervals, 0 to 1.
        has_answer: The same on the rows that have an answer, where there are others too.
    """
    rules = [
        _against_base(gate, everything, "base" in same_weights, confidence),
        _where_answered(gate, has_answer, confidence),
        *_minimums(gate, everything),
        _against_champion(gate, everything, "champion" in same_weights, confidence),
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


Rule = tuple[str, str]
"""Outcome (`better` when the rule is met) and reason."""


def _against_base(gate: GateConfig, everything: Slice, same: bool, confidence: float) -> Rule:
    label, gap = METRIC_LABELS[gate.metric], everything.differences["base"][gate.metric]
    numbers = f"(difference {describe(gap, confidence)})"
    if same:
        return "no difference", f"the tuned model has the same weights as the base {numbers}"
    if _is_worse(gap, confidence):
        return "worse", f"{label} of the tuned model is worse than the base {numbers}"
    if gap.low <= _ROUNDING:
        return "no difference", f"{label} of the tuned model is not better than the base {numbers}"
    if gap.changed < fewest_changes(confidence):
        return "no difference", _too_few(label, "base", gap, numbers, confidence)
    if gap.low <= gate.min_improvement + _ROUNDING:
        wanted = points(gate.min_improvement)
        return "too small a gain", (
            f"{label} of the tuned model is better than the base, but not surely by more than {wanted} points {numbers}"
        )
    return "better", f"{label} of the tuned model is better than the base {numbers}"


def _where_answered(gate: GateConfig, has_answer: Slice | None, confidence: float) -> Rule | None:
    """A model that only learned to say that there is no answer gains on the whole, and may lose where there is one."""
    if has_answer is None or gate.has_answer == "ignore":
        return None
    gap = has_answer.differences["base"][gate.metric]
    what = f"{METRIC_LABELS[gate.metric]} of the tuned model on the rows that have an answer"
    numbers = f"(difference {describe(gap, confidence)})"
    if gate.has_answer == "better":
        if gap.low <= _ROUNDING or gap.changed < fewest_changes(confidence):
            return "no difference", f"{what} is not better than the base {numbers}"
        return "better", f"{what} is better than the base {numbers}"
    if _is_worse(gap, confidence):
        return "worse", f"{what} is worse than the base {numbers}"
    return "better", f"{what} is not shown to be worse than the base {numbers}"


def _only_abstains(gate: GateConfig, has_answer: Slice | None, confidence: float) -> list[str]:
    if has_answer is None or gate.has_answer == "better":
        return []
    gap = has_answer.differences["base"][gate.metric]
    if gap.low > _ROUNDING and gap.changed >= fewest_changes(confidence):
        return []
    return [
        "The gain is not shown on the rows that have an answer: the model may have learned only to say that there is "
        "none. gate.has_answer=better refuses such a model."
    ]


def _minimums(gate: GateConfig, everything: Slice) -> list[Rule]:
    rules: list[Rule] = []
    for metric, minimum in gate.minimum.items():
        label, score = METRIC_LABELS[metric], everything.scores["tuned"][metric].value
        if score < minimum - _ROUNDING:
            rules.append(
                ("below minimum", f"{label} of the tuned model is {points(score)}, below the minimum {points(minimum)}")
            )
        else:
            rules.append(("better", f"{label} of the tuned model is {points(score)}, the minimum is {points(minimum)}"))
    return rules


def _against_champion(gate: GateConfig, everything: Slice, same: bool, confidence: float) -> Rule | None:
    if "champion" not in everything.differences or gate.champion == "ignore":
        return None
    label, gap = METRIC_LABELS[gate.metric], everything.differences["champion"][gate.metric]
    numbers = f"(difference {describe(gap, confidence)})"
    if same:
        return "no difference", f"no difference from the registered champion, which is the same model {numbers}"
    if gap.changed == 0:
        return (
            "no difference",
            f"no difference from the registered champion, which scores the same on every row {numbers}",
        )
    if gate.champion == "not_worse":
        allowed = points(gate.tolerance)
        if not is_not_worse(gap, gate.tolerance):
            return "worse than the champion", (
                f"{label} of the tuned model may be more than {allowed} points below the registered champion {numbers}"
            )
        return "better", (
            f"{label} of the tuned model is not more than {allowed} points below the registered champion {numbers}"
        )
    if gap.low <= _ROUNDING:
        return "not better than the champion", (
            f"{label} of the tuned model is not better than the registered champion {numbers}"
        )
    if gap.changed < fewest_changes(confidence):
        return "not better than the champion", _too_few(label, "registered champion", gap, numbers, confidence)
    return "better", f"{label} of the tuned model is better than the registered champion {numbers}"


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


def describe(gap: Difference, confidence: float) -> str:
    """A difference with its interval in words: `+0.3 points, 95 % interval -1.1 to +1.7`."""
    low, high = signed_points(gap.low), signed_points(gap.high)
    return f"{signed_points(gap.value)} points, {100 * confidence:g} % interval {low} to {high}"
