"""After each round: was the model good enough, did it still gain, and is there anything left to spend?"""

from collections.abc import Mapping, Sequence

import numpy as np

from components.core.evaluation.bootstrap import estimate_means, fewest_changes
from components.core.loop.config import LoopConfig
from components.core.loop.history import Decision, Gain, History, Round, Usage


def decide(
    earlier: Sequence[Round], latest: Round, loop: LoopConfig, thresholds: Mapping[str, float], judge: str = ""
) -> History:
    """Add a round to those before, and say whether another one follows.

    The first that holds: `passed`, when the judge calls the model qualified; `plateau`, when no gain was shown in the
    last `loop.patience` rounds; `budget`, when rounds, rows, calls or USD are used up, or one more round like the last
    would use more than there is; else `continue`.

    Args:
        earlier: Rounds 0, 1, ... before it.
        latest: The round that was judged last.
        loop: Budget and patience.
        thresholds: What similarity and precision must reach, in points.
        judge: The service LLM that judged.
    """
    latest = latest.model_copy(update={"gain": _gain(earlier, latest, loop)})
    rounds = (*earlier, latest)
    decision, reason = (
        _passed(latest) or _plateau(rounds, loop) or _budget(rounds, loop) or _continue(latest, thresholds)
    )
    return History(rounds=rounds, thresholds=dict(thresholds), judge=judge, decision=decision, reason=reason)


def _gain(earlier: Sequence[Round], latest: Round, loop: LoopConfig) -> Gain | None:
    if not earlier:
        return None
    best = max(earlier, key=lambda each: each.score)
    common = sorted(set(best.prompts) & set(latest.prompts))
    if not common:
        return None
    gaps = np.array([[latest.prompts[key] - best.prompts[key]] for key in common])
    found = estimate_means(gaps, np.arange(len(common)), loop.bootstrap_samples, loop.confidence, loop.seed)[0]
    changed = int(np.count_nonzero(np.abs(gaps) > 1e-9))
    # a bootstrap alone calls a handful of changed prompts significant
    shown = found.low > loop.min_gain and changed >= fewest_changes(loop.confidence)
    return Gain(
        value=found.value, low=found.low, high=found.high,
        prompts=len(common), changed=changed, against=best.number, shown=shown,
    )  # fmt: skip


def _passed(latest: Round) -> tuple[Decision, str] | None:
    if not latest.qualification:
        return None
    return "passed", f"{_who(latest)} is good enough: {_scores(latest)}"


def _plateau(rounds: Sequence[Round], loop: LoopConfig) -> tuple[Decision, str] | None:
    without: list[Gain] = []
    for each in reversed(rounds):
        if each.gain is None or each.gain.shown:
            break
        without.append(each.gain)
    if len(without) < loop.patience:
        return None
    gain = without[0]
    what = f"more than {loop.min_gain:g} points" if loop.min_gain else "anything"
    many = "the last round" if len(without) == 1 else f"the last {len(without)} rounds"
    return "plateau", (
        f"{many} did not surely gain {what}: the last scores {gain.value:+.1f} points against round {gain.against} "
        f"({100 * loop.confidence:g} % interval {gain.low:+.1f} to {gain.high:+.1f})"
    )


def _budget(rounds: Sequence[Round], loop: LoopConfig) -> tuple[Decision, str] | None:
    latest, spent = rounds[-1], sum((each.judging + each.generating for each in rounds), Usage())
    if latest.number >= loop.max_rounds:
        return "budget", f"{latest.number} of loop.max_rounds={loop.max_rounds} rounds are done"
    rows = latest.synthetic_rows
    if loop.max_synthetic_rows is not None and rows >= loop.max_synthetic_rows:
        return "budget", f"{rows:,} rows are generated, as many as loop.max_synthetic_rows allows"
    # what the first round's generating takes is not known before it: its judging is all there is to go by
    costly = latest.judging + latest.generating
    if loop.max_calls is not None and spent.calls + costly.calls > loop.max_calls:
        return "budget", (
            f"{spent.calls:,} calls are made, and another round like the last ({costly.calls:,}) would exceed "
            f"loop.max_calls={loop.max_calls:,}"
        )
    if loop.max_usd is not None and spent.usd + costly.usd > loop.max_usd:
        return "budget", (
            f"{spent.usd:.2f} USD are spent, and another round like the last ({costly.usd:.2f}) would exceed "
            f"loop.max_usd={loop.max_usd:g}"
        )
    return None


def _continue(latest: Round, thresholds: Mapping[str, float]) -> tuple[Decision, str]:
    reached = all(getattr(latest, name).value >= threshold for name, threshold in thresholds.items())
    # its means would do, but not their intervals
    how = "not surely" if reached else "not"
    return "continue", f"{_who(latest)} is {how} good enough yet: {_scores(latest)}"


def _who(latest: Round) -> str:
    return f"the model of round {latest.number}" if latest.number else "the base model"


def _scores(latest: Round) -> str:
    found = (("similarity", latest.similarity), ("precision", latest.precision))
    return ", ".join(f"{name} {each.value:.1f} ({each.low:.1f} to {each.high:.1f})" for name, each in found)
