"""The gate's rule for forgetting."""

from components.core.evaluation.bootstrap import fewest_changes
from components.core.evaluation.gate import Rule, describe
from components.core.evaluation.results import PROBE_LABELS, Forgetting
from components.core.recipe import GateConfig


def judge_forgetting(gate: GateConfig, found: Forgetting, confidence: float) -> list[Rule]:
    """Refuse what was clearly forgotten: the whole interval of the rise lies above `gate.max_forgetting`.

    Texts and conversations are judged apart, since one may gain what the other loses. What the base does not know it
    cannot forget, so such a kind has no rule.
    """
    limit = gate.max_forgetting
    if limit == "ignore":
        return []
    rules: list[Rule] = []
    for kind, each in found.kinds.items():
        if not each.known:
            continue
        rise, what = each.increase, PROBE_LABELS[kind].lower()
        numbers = f"({describe(rise, confidence, 'loss')})"
        if rise.low > limit and rise.changed >= fewest_changes(confidence):
            rules.append(
                (
                    "forgot",
                    f"the tuned model forgot: its loss on {what} of the probe rose by more than gate.max_forgetting="
                    f"{limit:g} nats per token {numbers}",
                )
            )
        else:
            rules.append(
                ("better", f"loss on {what} of the probe did not surely rise by more than {limit:g} {numbers}")
            )
    return rules


def forgetting_notes(found: Forgetting) -> list[str]:
    """What a reader should know before trusting the numbers."""
    notes = []
    for kind, each in found.kinds.items():
        what = PROBE_LABELS[kind].lower()
        if not each.known:
            notes.append(
                f"The base model does not know {what} of the probe (loss {each.base.value:.2f}, a guess has "
                f"{found.guess:.2f}), so it had nothing there to forget and the gate does not ask."
            )
        if not each.same_tokens:
            notes.append(f"The models cut {what} of the probe into other tokens: their losses compare roughly.")
    return notes
