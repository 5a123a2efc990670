"""The service LLM's own answers to the instructions that a local model answered, so that both can be judged alike."""

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from components.core.errors import ServiceLLMError
from components.core.judging.config import DatasetId
from components.core.judging.journals import slug
from components.core.judging.responses import Response, parse_responses
from components.core.recipe.section import Count
from components.core.service_llm import (
    Journal,
    ServiceLLM,
    ServiceLLMConfig,
    ServiceRefused,
    ServiceUnavailable,
    open_service_llm,
)
from components.core.settings import Settings
from components.core.tables import check_target, read_rows, write_rows

logger = logging.getLogger(__name__)


class AnswerConfig(ServiceLLMConfig):
    """The service LLM that answers, and the rows whose instructions it gets."""

    lm_response_ds_id: DatasetId
    """Dataset with the local model's answers: a folder, a file, a saved dataset or a Hub id."""
    lm_response_ds_split: DatasetId = "batch_infer"
    """Its split."""
    answer_workers: Count = 4
    """Calls under way at a time."""
    service_response_ds_id: DatasetId = "service-responses"
    """Where the answers go, in the columns of batch_inference.py."""
    service_response_ds_split: DatasetId = "batch_infer"
    """The split that is written."""
    push_service_responses_to_hf_hub: bool = False
    """Write it to the Hub instead of the disk (HF_TOKEN)."""
    resume: bool = True
    """Use the answers of an earlier run; `false` asks for everything anew."""


class Answer(BaseModel):
    """One answer as the journal keeps it."""

    key: str
    text: str


def answer_instructions(config: AnswerConfig, settings: Settings) -> tuple[str, int]:
    """Ask the service LLM every instruction once.

    Returns:
        Where the rows are, and how many.

    Raises:
        ServiceLLMError: If it does not answer; what came is kept, and the next run goes on.
        As `judge` else.
    """
    place = (config.service_response_ds_id, config.service_response_ds_split)
    check_target(*place, settings, push_to_hub=config.push_service_responses_to_hf_hub)
    llm = open_service_llm(config, settings)
    rows = read_rows(config.lm_response_ds_id, config.lm_response_ds_split, settings)
    responses = parse_responses(rows, f"{config.lm_response_ds_id}, split {config.lm_response_ds_split}")
    asked = list({(each.instruction, each.target): each for each in responses}.values())
    facts = repr((config.lm_response_ds_id, config.label, config.base_url, config.temperature, config.max_tokens))
    name = f"answers-{slug(config.lm_response_ds_id)}-{hashlib.sha256(facts.encode()).hexdigest()[:12]}.jsonl"
    file = settings.whetstone_home.resolve() / "judgements" / name
    with Journal(file, Answer, anew=not config.resume) as journal:
        answers = asyncio.run(_ask_all(llm, asked, journal, config.answer_workers))
    written = [_row(each, answers[_key(each)], config.label) for each in asked if _key(each) in answers]
    where = write_rows(written, *place, settings, push_to_hub=config.push_service_responses_to_hf_hub)
    return where, len(written)


async def _ask_all(
    llm: ServiceLLM, asked: Sequence[Response], journal: Journal[Answer], workers: int
) -> dict[str, str]:
    answers = {entry.key: entry.text for entry in journal.entries}
    left = iter([each for each in asked if _key(each) not in answers])
    stop: list[ServiceLLMError] = []

    async def work() -> None:
        for each in left:
            if stop:
                return
            try:
                reply = await llm.ask([("user", each.instruction)])
            except (ServiceUnavailable, ServiceRefused) as error:
                stop.append(error)
                return
            except ServiceLLMError as error:
                logger.warning("Row %d has no answer and is left out: %s", each.row, error)
                continue
            journal.add(Answer(key=_key(each), text=reply.text))
            answers[_key(each)] = reply.text

    async with llm:
        await asyncio.gather(*(work() for _ in range(workers)))
    if stop:
        raise type(stop[0])(f"{stop[0]} {len(answers)} answers are kept; run it again to go on.") from stop[0]
    return answers


def _key(response: Response) -> str:
    return hashlib.sha256(response.instruction.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _row(response: Response, text: str, model: str) -> dict[str, Any]:
    return {
        "instructions": response.instruction,
        "target_responses": response.target,
        "candidate_responses": text,
        "model_id": model,
        "model_sha": "",
    }
