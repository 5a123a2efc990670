"""A LangChain chat model over an engine."""

from collections.abc import AsyncIterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import ConfigDict

from llm_endpoint.engines.seam import Engine, Generation, GenerationRequest, Message, Sampling
from llm_endpoint.errors import InvalidInput

_ROLES = {"system": "system", "human": "user", "ai": "assistant"}


@dataclass
class Exchange:
    """What one request asks of the model, and what runs for it."""

    sampling: Sampling
    generation: Generation | None = None
    text: str | None = None
    """Set: continued as it stands, in place of the messages."""


current_exchange: ContextVar[Exchange] = ContextVar("current_exchange")
"""Of the request that the running task answers."""


class EngineChatModel(BaseChatModel):
    """Streams from an engine; sampling comes from the `current_exchange`."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    engine: Any
    """An Engine."""

    @property
    def _llm_type(self) -> str:
        return "whetstone-engine"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        engine: Engine = self.engine
        return {"model": engine.info.model, "revision": engine.info.revision, "engine": engine.info.engine}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise NotImplementedError("the engine answers in an event loop: use ainvoke or astream")

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        pieces = [chunk async for chunk in self._astream(messages, stop, run_manager, **kwargs)]
        message = AIMessage(
            content="".join(str(chunk.message.content) for chunk in pieces),
            usage_metadata=pieces[-1].message.usage_metadata if pieces else None,  # type: ignore[attr-defined]
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        exchange = current_exchange.get()
        engine: Engine = self.engine
        turns = () if exchange.text is not None else tuple(_turn(message) for message in messages)
        generation = engine.submit(GenerationRequest(turns, exchange.text, exchange.sampling))
        exchange.generation = generation
        try:
            async for delta in generation:
                yield ChatGenerationChunk(message=AIMessageChunk(content=delta.text))
            usage = generation.usage
            yield ChatGenerationChunk(
                message=AIMessageChunk(
                    content="",
                    usage_metadata={
                        "input_tokens": usage.prompt_tokens,
                        "output_tokens": usage.completion_tokens,
                        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
                        "input_token_details": {"cache_read": usage.cached_tokens},
                    },
                    response_metadata={"finish_reason": generation.finish_reason or "stop"},
                )
            )
        finally:
            generation.cancel()


def _turn(message: BaseMessage) -> Message:
    role = _ROLES.get(message.type)
    if role is None or not isinstance(message.content, str):
        raise InvalidInput("messages hold text from system, user and assistant only.")
    return Message(role, message.content)  # type: ignore[arg-type]
