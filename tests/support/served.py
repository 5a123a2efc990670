"""The endpoint's own way from a model folder to answers, without HTTP."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from llm_endpoint.answering import Answer, Caller, Question
from llm_endpoint.service import Service
from llm_endpoint.settings import Settings
from prometheus_client import CollectorRegistry


def answers_of(folder: Path, questions: Sequence[Question], max_new_tokens: int, engine: str) -> list[Answer]:
    """Answers of a served model folder, in the order of the questions.

    Args:
        folder: Model folder.
        questions: All asked at once.
        max_new_tokens: Longest answer.
        engine: `openvino` or `transformers`.
    """

    async def main() -> list[Answer]:
        settings = Settings(model=str(folder), engine=engine, whetstone_home=folder.parent / "endpoint", threads=1)
        service = Service(settings, CollectorRegistry())
        await service.warm_up()
        answering = service.ready_answering()
        sampling = replace(answering.defaults, max_new_tokens=max_new_tokens)
        streams = [answering.ask(question, sampling, Caller("test")) for question in questions]
        try:
            return await asyncio.gather(*map(answering.finish, streams))
        finally:
            await service.close()

    return asyncio.run(asyncio.wait_for(main(), 180))
