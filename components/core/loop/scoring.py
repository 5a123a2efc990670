"""A round's judgements: what the service LLM says of the answers."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.core.evaluation.bootstrap import Estimate
from components.core.judging import JudgeConfig, judge
from components.core.loop.history import Points, Usage
from components.core.loop.reference import hand_over, work_name
from components.core.loop.rounds import JUDGED_FILE, ROWS, Judged, prompt_scores, write_result
from components.core.settings import Settings

logger = logging.getLogger(__name__)


def judge_round(
    number: int, sections: Mapping[str, Any], responses_dir: Path, output_dir: Path, settings: Settings
) -> Judged:
    """Have the answers judged; a step that is tried again asks for no judgement twice.

    Args:
        number: Of the round.
        sections: Keys of JudgeConfig, without those that are the loop's.
        responses_dir: The answers.
        output_dir: Gets the judged rows and judged.json.
        settings: API keys, and where the work is kept meanwhile.

    Raises:
        PlatformError: As `judge`.
    """
    name = work_name("judged", number, {**sections, "responses": responses_dir})
    given = {"lm_response_ds_id": str(responses_dir), "lm_response_ds_split": ROWS}
    config = JudgeConfig.model_validate({**sections, **given, "eval_ds_id": name, "eval_ds_split": ROWS})
    result = judge(config, settings)
    rows, usage = result.rows, result.usage
    hand_over(name, ROWS, output_dir, settings)
    judged = Judged(
        model=f"{rows[0]['model_id']}@{str(rows[0]['model_sha'])[:12]}",
        judge=config.label,
        similarity=_points(result.similarity),
        precision=_points(result.precision),
        coverage=_points(result.coverage),
        qualification=result.verdict.word == "qualified",
        thresholds={"similarity": config.avg_similarity_threshold, "precision": config.avg_precision_threshold},
        prompts=prompt_scores(rows),
        usage=Usage(
            calls=usage.calls, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, usd=usage.cost
        ),
    )
    write_result(judged, output_dir / JUDGED_FILE)
    return judged


def _points(estimate: Estimate) -> Points:
    return Points(value=estimate.value, low=estimate.low, high=estimate.high)
