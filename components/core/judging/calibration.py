"""How far a judge can be trusted: asked about answers whose quality is known, repeatedly, and in both orders."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

from components.core.errors import DataError, StorageError
from components.core.judging.config import JudgeConfig
from components.core.judging.journals import journal_file, judge_fingerprint
from components.core.judging.prompt import Messages, render_prompt
from components.core.judging.responses import Response, Task, parse_responses
from components.core.judging.running import Judge, Judgement, Judging, Progress
from components.core.judging.verdict import interval
from components.core.service_llm import Journal, open_service_llm
from components.core.settings import Settings
from components.core.tables import read_rows

LOWEST_AGREEMENT = 0.667
"""Krippendorff's alpha below which he draws no conclusion at all."""
LARGEST_ORDER_BIAS = 5.0
"""Points by which the order of reference and candidate may move a score."""
HIGHEST_WRONG = 50.0
"""Points of similarity that an answer to another instruction may get on average."""
_KINDS = ("target", "truncated", "shuffled", "answer")
_BOTH_ORDERS = ("truncated", "answer")
_FEWEST_INSTRUCTIONS = 4
_CUTTABLE_WORDS = 6


class Calibration(BaseModel):
    """What came of asking a judge about answers of known quality."""

    judge: str
    similarity: dict[str, float]
    """Mean by kind: the target itself, its first third, another instruction's target, the model's own answer."""
    precision: dict[str, float]
    agreement: dict[str, float]
    """Krippendorff's alpha between repeats, by score; 1 is perfect, 0 is chance."""
    order_bias: float
    """Points that a candidate gains by standing after the reference instead of before it."""
    order_bias_low: float
    order_bias_high: float
    instructions: int
    judgements: int
    date: str

    def problems(self, config: JudgeConfig) -> list[str]:
        """Why this judge's verdicts are not to be trusted; empty where they are."""
        thresholds = {"similarity": config.avg_similarity_threshold, "precision": config.avg_precision_threshold}
        found = []
        for metric, threshold in thresholds.items():
            if (value := getattr(self, metric)["target"]) < threshold:
                found.append(f"gives the target itself a {metric} of {value:.1f}, below the threshold of {threshold:g}")
        if (wrong := self.similarity["shuffled"]) > HIGHEST_WRONG:
            found.append(f"gives answers to other instructions a similarity of {wrong:.1f}")
        falling = [self.similarity[kind] for kind in ("target", "truncated", "shuffled") if kind in self.similarity]
        if any(worse >= better for better, worse in zip(falling, falling[1:], strict=False)):
            found.append("does not put whole, cut and wrong answers in this order")
        for metric, alpha in self.agreement.items():
            if not alpha >= LOWEST_AGREEMENT:
                found.append(f"does not agree with itself on {metric} (alpha {alpha:.2f}, needed {LOWEST_AGREEMENT})")
        if abs(self.order_bias) > LARGEST_ORDER_BIAS:
            found.append(f"moves a score by {self.order_bias:+.1f} points with the order of the two answers")
        return found


def calibrate(
    config: JudgeConfig,
    settings: Settings,
    *,
    rows: Sequence[Mapping[str, Any]] | None = None,
    by: Judge | None = None,
) -> Calibration:
    """Ask the judge about answers of known quality, and keep what came of it for its verdicts.

    Raises:
        As `judge`.
    """
    asked = by or open_service_llm(config, settings)
    if rows is None:
        rows = read_rows(config.lm_response_ds_id, config.lm_response_ds_split, settings)
    responses = parse_responses(rows, f"{config.lm_response_ds_id}, split {config.lm_response_ds_split}")
    cases = choose_cases(responses, config)
    with Journal(journal_file(config, settings, "calibration"), Judgement, anew=not config.resume) as journal:
        run = asyncio.run(_run(cases, config, journal, asked))
    found = summarize(cases, run.results, config)
    _write(found, calibration_file(config, settings))
    return found


def choose_cases(responses: Sequence[Response], config: JudgeConfig) -> list[tuple[str, Task]]:
    """Kind of quality and what is to be judged, in the order of judging.

    Raises:
        DataError: If there are too few different instructions.
    """
    first = {(each.instruction, each.target): each for each in reversed(responses)}
    chosen = list(first.values())
    random.Random(config.seed).shuffle(chosen)
    chosen = chosen[: config.calibration_rows]
    if len({each.target for each in chosen}) < _FEWEST_INSTRUCTIONS:
        raise DataError(f"calibrating needs {_FEWEST_INSTRUCTIONS} instructions with different target responses.")
    cases = []
    for repeat in range(config.calibration_repeat):
        for number, response in enumerate(chosen):
            other = next(o for o in (*chosen[number + 1 :], *chosen) if o.target != response.target)
            words = response.target.split()
            # a target of two words has no third that would be worse
            kinds = [kind for kind in _KINDS if kind != "truncated" or len(words) >= _CUTTABLE_WORDS]
            texts = {
                "target": response.target,
                "truncated": " ".join(words[: len(words) // 3]),
                "shuffled": other.target,
                "answer": response.candidate,
            }
            for kind in kinds:
                case = Response(response.row, response.instruction, response.target, texts[kind])
                cases.append((kind, Task(case, repeat, number)))
                if kind in _BOTH_ORDERS:
                    cases.append((kind, Task(case, repeat, number, candidate_first=True)))
    return cases


async def _run(
    cases: Sequence[tuple[str, Task]], config: JudgeConfig, journal: Journal[Judgement], asked: Judge
) -> Judging:
    def render(task: Task) -> Messages:
        each = task.response
        return render_prompt(each.instruction, each.target, each.candidate, candidate_first=task.candidate_first)

    tasks = [task for _, task in cases]
    run = Judging(
        tasks, journal, config.eval_workers, lambda *_: False, config.max_tokens, render, Progress(asked, at_most="")
    )
    try:
        await run.run(asked)
    finally:
        if close := getattr(asked, "aclose", None):
            await close()
    return run


def summarize(
    cases: Sequence[tuple[str, Task]], results: Sequence[Judgement | None], config: JudgeConfig
) -> Calibration:
    """Means by kind, agreement between repeats and what the order does."""
    found: dict[tuple[str, int, bool], list[tuple[float, float]]] = {}
    for (kind, task), result in zip(cases, results, strict=True):
        if result is not None and result.scores is not None:
            found.setdefault((kind, task.instruction, task.candidate_first), []).append(result.scores)
    usual = {kind: np.asarray([s for (k, _, swapped), each in found.items() if k == kind and not swapped for s in each])
             for kind in _KINDS}  # fmt: skip
    if not all(len(usual[kind]) for kind in ("target", "shuffled", "answer")):
        raise DataError("the judge gave no judgement of some kind of answer. Look at the warnings above.")
    usual = {kind: scores for kind, scores in usual.items() if len(scores)}
    gaps = [
        np.mean(found[kind, number, False]) - np.mean(found[kind, number, True])
        for kind, number, swapped in found
        if swapped and (kind, number, False) in found
    ]
    bias = interval(np.asarray(gaps)[:, None], 1 - config.confidence, config.bootstrap_samples, config.seed)
    return Calibration(
        judge=config.label,
        similarity={kind: float(scores[:, 0].mean()) for kind, scores in usual.items()},
        precision={kind: float(scores[:, 1].mean()) for kind, scores in usual.items()},
        agreement={
            metric: krippendorff_alpha([[pair[k] for pair in each] for each in found.values()])
            for k, metric in enumerate(("similarity", "precision"))
        },
        order_bias=bias.value,
        order_bias_low=bias.low,
        order_bias_high=bias.high,
        instructions=len({task.instruction for _, task in cases}),
        judgements=sum(len(each) for each in found.values()),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def krippendorff_alpha(units: Sequence[Sequence[float]]) -> float:
    """Agreement of interval ratings: 1 - observed / expected disagreement; 0 where all ratings are the same.

    Args:
        units: Ratings of each thing; those with a single one say nothing.
    """
    rated = [np.asarray(each, dtype=np.float64) for each in units if len(each) > 1]
    if not rated:
        return 0.0
    everything = np.concatenate(rated)
    observed = sum(len(each) * each.var(ddof=1) for each in rated) / len(everything)
    expected = everything.var(ddof=1)
    return float(1 - observed / expected) if expected > 0 else 0.0


def _write(found: Calibration, file: Path) -> None:
    part = file.with_suffix(".part")
    try:
        part.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
        part.replace(file)
    except OSError as error:
        raise StorageError(f"cannot write {file}: {error.strerror}. Check WHETSTONE_HOME.") from error


def read_calibration(config: JudgeConfig, settings: Settings) -> Calibration | None:
    """What came of calibrating this judge, None where nobody has or it is unreadable."""
    try:
        return Calibration.model_validate_json(calibration_file(config, settings).read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None


def calibration_file(config: JudgeConfig, settings: Settings) -> Path:
    """Where it is kept: by judge and wording of the question, whatever it was asked about."""
    return settings.whetstone_home.resolve() / "judgements" / f"calibration-{judge_fingerprint(config)}.json"
