"""Requests through a small real chain, traced by the real LangSmith client."""

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from llm_endpoint.settings import Settings
from llm_endpoint.telemetry.exporter import Limits
from llm_endpoint.telemetry.telemetry import Telemetry, open_telemetry

KEY = "lsv2_pt_0123456789abcdef_canary"
QUICK = Limits(
    linger_seconds=0.01, backoff_seconds=0.01, longest_backoff_seconds=0.05, breaker_seconds=0.05, attempts=3
)


def settings(address: str, **changes: Any) -> Settings:
    given = {"tracing": True, "langsmith_endpoint": address, "langsmith_api_key": KEY, "langsmith_project": "qa"}
    return Settings(**(given | changes))


class Traced:
    """Telemetry with its counts, and a way to make requests."""

    def __init__(self, address: str, limits: Limits = QUICK, **changes: Any) -> None:
        self.counts: Counter[str] = Counter()
        self.telemetry: Telemetry = open_telemetry(settings(address, **changes), self.count, limits)

    def count(self, event: str, reason: str, number: int) -> None:
        self.counts[f"{event} {reason}".strip()] += number

    def ask(self, context: str = "The sky is blue.", answer: str = "It is blue.", error: str | None = None) -> UUID:
        prompt = ChatPromptTemplate.from_messages([("user", "{context}\n{question}")])
        chain = prompt | GenericFakeChatModel(messages=iter([answer])) | StrOutputParser()
        trace = self.telemetry.start("talk-1", {"model": "starter", "revision": "0123abc"})

        async def stream() -> str:
            config: Any = {"run_id": trace.trace_id, "callbacks": trace.callbacks}
            asked = {"context": context, "question": "Which colour?"}
            return "".join([piece async for piece in chain.astream(asked, config)])

        assert asyncio.run(stream()) == answer
        trace.finish(error, {"prompt_tokens": 7, "completion_tokens": 3, "cached_tokens": 5, "finish_reason": "stop"})
        return trace.trace_id
