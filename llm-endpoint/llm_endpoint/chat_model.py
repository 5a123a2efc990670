"""A LangChain chat model over an engine."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import ConfigDict

from llm_endpoint.engines.seam import Engine, Generation, GenerationRequest, Message, Sampling
from llm_endpoint.errors import InvalidInput

_ROLES = {"system": "system", "human": "user", "ai": "assistant"}


def _future() -> "asyncio.Future[Any]":
    return asyncio.get_running_loop().create_future()


@dataclass
class Exchange:
    """What one request asks of the model, and what runs for it.

    The model's run in the chain begins the answer and then waits for its whole text; meanwhile the request's own task
    reads the pieces. Taking each piece through the chain costs LangChain a task and several copies per step.
    """

    sampling: Sampling
    text: str | None = None
    """Set: continued as it stands, in place of the messages."""
    streamed: bool = False
    """The caller sees each piece as it comes."""
    stand_in: Callable[[], GenerationRequest] | None = None
    """The same as the stand-in of a chain is asked."""
    asked: GenerationRequest | None = None
    """What the engine was asked."""
    generation: Generation | None = None
    begun: "asyncio.Future[None]" = field(default_factory=_future)
    """The engine has taken the request, or the chain has ended before."""
    answered: "asyncio.Future[str]" = field(default_factory=_future)
    """The whole text, or why there is none."""

    def begin(self) -> None:
        """Let the request's task go on."""
        if not self.begun.done():
            self.begun.set_result(None)


current_exchange: ContextVar[Exchange] = ContextVar("current_exchange")
"""Of the request that the running task answers."""


class EngineChatModel(BaseChatModel):
    """Asks an engine; sampling comes from the `current_exchange`, and the pieces of the answer go to it."""

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
        raise NotImplementedError("the engine answers in an event loop: use ainvoke")

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        exchange = current_exchange.get()
        engine: Engine = self.engine
        turns = () if exchange.text is not None else tuple(_turn(message) for message in messages)
        exchange.asked = GenerationRequest(
            turns, exchange.text, exchange.sampling, exchange.streamed, exchange.stand_in
        )
        generation = exchange.generation = engine.submit(exchange.asked)
        exchange.begin()
        text = await exchange.answered
        usage = generation.usage
        message = AIMessage(
            content=text,
            usage_metadata={
                "input_tokens": usage.prompt_tokens,
                "output_tokens": usage.completion_tokens,
                "total_tokens": usage.prompt_tokens + usage.completion_tokens,
                "input_token_details": {"cache_read": usage.cached_tokens},
            },
            response_metadata={"finish_reason": generation.finish_reason or "stop"},
        )
        return ChatResult(generations=[ChatGeneration(message=message)])


def _turn(message: BaseMessage) -> Message:
    role = _ROLES.get(message.type)
    if role is None or not isinstance(message.content, str):
        raise InvalidInput("messages hold text from system, user and assistant only.")
    return Message(role, message.content)  # type: ignore[arg-type]
