"""Judge a model's answers: read them, ask the judge, decide, write the rows with their scores."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from components.core.evaluation.bootstrap import Estimate
from components.core.judging.calibration import Calibration, read_calibration
from components.core.judging.config import JudgeConfig
from components.core.judging.journals import journal_file
from components.core.judging.responses import Response, parse_responses, plan
from components.core.judging.running import Judge, Judgement, Judging, Progress, render_response, total_usage
from components.core.judging.verdict import Verdict, Watch
from components.core.service_llm import Journal, Usage, open_service_llm
from components.core.settings import Settings
from components.core.tables import check_target, read_rows, write_rows

logger = logging.getLogger(__name__)

EVAL_COLUMNS = ("eval_prompts", "similarity_scores", "precision_scores", "evaluators", "dates")


@dataclass(frozen=True)
class JudgeResult:
    """What came of judging."""

    verdict: Verdict
    rows: list[dict[str, Any]]
    """The rows as read, with the columns of the judge added; lists hold one item for each judgement."""
    where: str
    """File or address of the rows."""
    usage: Usage
    """Of all judgements, those of an earlier run that was stopped too."""
    made: int
    """Judgements made in this run."""
    reused: int
    """Judgements of earlier runs."""
    planned: int
    """Judgements that judging everything takes."""
    problems: dict[int, str] = field(default_factory=dict)
    """Rows that could not be judged, by number from 1, and why."""
    calibration: Calibration | None = None
    """How far the judge can be trusted; None where nobody has looked."""

    @property
    def qualification(self) -> bool:
        """Whether both means reach their thresholds."""
        return self.verdict.qualification

    @property
    def similarity(self) -> Estimate:
        """Mean and interval, 0 to 100."""
        return self.verdict.similarity

    @property
    def precision(self) -> Estimate:
        """Mean and interval, 0 to 100."""
        return self.verdict.precision

    @property
    def coverage(self) -> Estimate:
        """Percent of the instructions where both scores reach their thresholds."""
        return self.verdict.coverage


def judge(
    config: JudgeConfig,
    settings: Settings,
    *,
    rows: Sequence[Mapping[str, Any]] | None = None,
    by: Judge | None = None,
) -> JudgeResult:
    """Judge answers, and save them with their scores.

    Args:
        config: Judge, answers and rule.
        settings: Where saved datasets and judgements are, and the API keys.
        rows: The answers, where they were read already.
        by: The judge; None opens the one that is configured.

    Raises:
        ConfigError: If the judge has no API key, or the rows cannot go where they shall.
        DataError: If the answers lack what is judged.
        ServiceLLMError: If the judge does not answer; every judgement that came is kept, and the next run goes on.
        StorageError: If something cannot be read or written.
    """
    # all that can be wrong is found before the first call is paid
    check_target(config.eval_ds_id, config.eval_ds_split, settings, push_to_hub=config.push_eval_to_hf_hub)
    asked = by or open_service_llm(config, settings)
    source = f"{config.lm_response_ds_id}, split {config.lm_response_ds_split}"
    if rows is None:
        rows = read_rows(config.lm_response_ds_id, config.lm_response_ds_split, settings)
    responses = parse_responses(rows, source)
    with Journal(journal_file(config, settings), Judgement, anew=not config.resume) as journal:
        run, verdict = asyncio.run(_run(config, responses, journal, asked))
    judged = add_scores(rows, run, config.label)
    where = write_rows(
        judged,
        config.eval_ds_id,
        config.eval_ds_split,
        settings,
        append=config.eval_ds_append,
        push_to_hub=config.push_eval_to_hf_hub,
    )
    calibration = read_calibration(config, settings)
    return JudgeResult(
        verdict=with_calibration(verdict, calibration, config),
        calibration=calibration,
        rows=judged,
        where=where,
        usage=total_usage(run.results, asked.usage, prices(config)),
        made=run.made,
        reused=run.reused,
        planned=len(run.tasks),
        problems=dict(sorted(run.problems.items())),
    )


async def _run(
    config: JudgeConfig, responses: Sequence[Response], journal: Journal[Judgement], asked: Judge
) -> tuple[Judging, Verdict]:
    passes = plan(responses, config.eval_repeat, config.seed)
    watch = Watch([len(each) for each in passes], len(passes[0]), config)

    def take(task: Any, result: Judgement | None) -> bool:
        watch.add(task.instruction, result.scores if result else None)
        return watch.verdict is not None

    tasks = [task for each in passes for task in each]
    run = Judging(tasks, journal, config.eval_workers, take, config.max_tokens, say=Progress(asked))
    logger.info(
        "Judging %d answers to %d instructions by %s, at most %d judgements; %d are there already",
        *(len(responses), len(passes[0]), config.label, len(tasks), run.reused),
    )
    try:
        await run.run(asked)
    finally:
        close = getattr(asked, "aclose", None)
        if close is not None:
            await close()
    assert watch.verdict is not None  # the last judgement of the plan always brings one
    return run, watch.verdict


def with_calibration(verdict: Verdict, calibration: Calibration | None, config: JudgeConfig) -> Verdict:
    """Nothing is decided by a judge that failed its calibration."""
    problems = calibration.problems(config) if calibration else []
    if not problems:
        return verdict
    return replace(verdict, word="undecided", reason=f"the judge failed its calibration: it {problems[0]}")


def add_scores(rows: Sequence[Mapping[str, Any]], run: Judging, evaluator: str) -> list[dict[str, Any]]:
    """The rows with the judge's columns; a row that was not judged has empty lists."""
    found: dict[int, list[Judgement]] = {}
    prompts = {}
    for task, result in zip(run.tasks, run.results, strict=True):
        prompts[task.response.row] = task.response
        if result is not None and result.scores is not None:
            found.setdefault(task.response.row, []).append(result)
    judged = []
    for number, row in enumerate(rows, start=1):
        results = found.get(number, [])
        values = (
            "\n\n".join(text for _, text in render_response(prompts[number])),
            [result.similarity for result in results],
            [result.precision for result in results],
            evaluator,
            [result.date for result in results],
        )
        judged.append({**row, **dict(zip(EVAL_COLUMNS, values, strict=True))})
    return judged


def prices(config: JudgeConfig) -> tuple[float, float]:
    """USD for a million tokens of prompts and of answers."""
    return config.price_per_million_input, config.price_per_million_output
