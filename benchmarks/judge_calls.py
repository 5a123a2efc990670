"""Calls of a judge for a verdict, against 4 answers x 10 judgements of each row: `python -m benchmarks.judge_calls`.

The judges are simulated: a function draws each score around a truth that is known, so that it is also known which
verdicts are errors. Peer: every instruction's 4 answers judged 10 times each, then one interval of the means by
instruction. Ours: the sequential test as evaluation.py runs it. Both see the same scores and say the same three words
with the same confidence.
"""

import json
import time
from collections import Counter
from typing import Any

import numpy as np

from benchmarks.fixed_answer import ROOT
from components.core.judging.config import JudgeConfig
from components.core.judging.responses import Response, Task, plan
from components.core.judging.verdict import Watch

RESULT = ROOT / "benchmarks" / "results" / "judge_calls.json"
INSTRUCTIONS, ANSWERS, REPEATS, SEEDS = 200, 4, 10, 60
THRESHOLD = 90.0
NOISES = {"steady judge": (6.0, 3.0, 3.0), "noisy judge": (6.0, 3.0, 9.0), "alike answers": (2.0, 2.0, 8.0)}
"""Standard deviations between instructions, between answers to one, and between judgements of one answer; in points, as
they are at the threshold."""
GAPS = (-20.0, -3.0, -1.5, 0.0, 1.5, 3.0, 6.0)
"""True mean of both scores minus the threshold. At 0 every verdict but "undecided" is an error, the point where a test
errs most often."""


def main() -> None:
    """Run every case with both schemes and write calls and errors."""
    started, results = time.monotonic(), []
    for name, noise in NOISES.items():
        for gap in GAPS:
            results.append(measure(name, noise, gap))
            print(json.dumps(results[-1]), flush=True)
    calls = {scheme: sum(each[scheme]["calls"] for each in results) for scheme in ("fixed", "ours")}
    worst = max(results, key=lambda each: each["ours"]["calls"])
    summary = {
        "instructions": INSTRUCTIONS,
        "seeds": SEEDS,
        "calls_ratio_all_cases": round(calls["ours"] / calls["fixed"], 4),
        "calls_ratio_worst_case": round(worst["ours"]["calls"] / worst["fixed"]["calls"], 4),
        "worst_case": f"{worst['judge']}, gap {worst['gap']:+g}",
        **{f"{scheme}_{kind}": _mean(results, scheme, kind) for scheme in calls for kind in ("wrong", "open")},
        "seconds": round(time.monotonic() - started),
    }
    print(json.dumps(summary))
    RESULT.write_text(json.dumps({"summary": summary, "cases": results}, indent=2) + "\n", encoding="utf-8")


def measure(name: str, noise: tuple[float, float, float], gap: float) -> dict[str, Any]:
    """Both schemes on the same scores, over all seeds."""
    found: dict[str, Counter[str]] = {"fixed": Counter(), "ours": Counter()}
    for seed in range(SEEDS):
        scores = Scores(noise, THRESHOLD + gap, seed)
        for scheme, words in found.items():
            word, calls = verdict(scores, sequential=scheme == "ours", seed=seed)
            undecided = word == "undecided" and gap != 0
            words.update({word: 1, "calls": calls, "wrong": is_wrong(word, gap), "open": undecided})
    shares = {
        scheme: {
            "calls": words["calls"] / SEEDS,
            "qualified": words["qualified"] / SEEDS,
            "not_qualified": words["not qualified"] / SEEDS,
            "wrong": words["wrong"] / SEEDS,
            "open": words["open"] / SEEDS,
        }
        for scheme, words in found.items()
    }
    ratio = round(shares["ours"]["calls"] / shares["fixed"]["calls"], 4)
    return {"judge": name, "gap": gap, "calls_ratio": ratio, **shares}


class Scores:
    """Every score that a judge would give, drawn once, so that both schemes see the same.

    Levels of instructions, answers around them and judgements around those are beta distributed: within 0 and 100,
    skewed as real scores near the top are, and with exactly the wanted mean.
    """

    def __init__(self, noise: tuple[float, float, float], mean: float, seed: int) -> None:
        dice = np.random.default_rng(seed)
        levels = _around(np.full(INSTRUCTIONS, mean / 100), noise[0], dice)
        answers = _around(np.repeat(levels[:, None], ANSWERS, axis=1), noise[1], dice)
        judgements = _around(np.repeat(answers[:, :, None], REPEATS, axis=2), noise[2], dice)
        again = _around(np.repeat(answers[:, :, None], REPEATS, axis=2), noise[2], dice)
        self._scores = (100 * np.stack([judgements, again], axis=-1)).tolist()

    def of(self, task: Task) -> tuple[float, float]:
        """The score of one judgement."""
        instruction, answer = divmod(task.response.row, ANSWERS)
        similarity, precision = self._scores[instruction][answer][task.repeat]
        return similarity, precision


def verdict(scores: Scores, *, sequential: bool, seed: int) -> tuple[str, int]:
    """The word and how many judgements it took."""
    config = JudgeConfig(
        lm_response_ds_id="simulated", eval_repeat=REPEATS, sequential=sequential, seed=seed, bootstrap_samples=1000
    )
    rows = range(INSTRUCTIONS * ANSWERS)
    passes = plan([Response(row, f"{row // ANSWERS}", "", "") for row in rows], REPEATS, seed)
    watch = Watch([len(each) for each in passes], INSTRUCTIONS, config)
    for each in passes:
        for task in each:
            watch.add(task.instruction, scores.of(task))
            if watch.verdict is not None:
                return watch.verdict.word, watch.verdict.judgements
    raise AssertionError("the last judgement brings a verdict")


def is_wrong(word: str, gap: float) -> bool:
    """Whether a verdict contradicts the truth; at the threshold itself any decision does."""
    if gap == 0:
        return word != "undecided"
    return word == ("not qualified" if gap > 0 else "qualified")


def _around(means: Any, deviation: float, dice: np.random.Generator) -> Any:
    """Beta distributed around given means; the deviation, in points, is that at the threshold."""
    at = THRESHOLD / 100
    concentration = at * (1 - at) / (deviation / 100) ** 2 - 1
    inside = np.clip(means, 1e-3, 1 - 1e-3)
    return dice.beta(inside * concentration, (1 - inside) * concentration)


def _mean(results: list[dict[str, Any]], scheme: str, kind: str) -> float:
    cases = [each for each in results if (each["gap"] == 0) == (kind == "wrong")]
    return float(round(sum(each[scheme][kind] for each in cases) / len(cases), 4))


if __name__ == "__main__":
    main()
