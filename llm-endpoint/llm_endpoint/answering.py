"""One request from question to grounded answer: chain, evidence, trace, numbers; the protocols are thin around it."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable

from llm_endpoint.chain import InlineStrOutputParser, build_chain, build_prompt_template
from llm_endpoint.chat_model import EngineChatModel, Exchange, current_exchange
from llm_endpoint.engines.seam import Engine, Message, Sampling, Usage
from llm_endpoint.errors import EndpointError, GenerationError, InvalidInput, RequestTimeout
from llm_endpoint.feedback import RecentAnswers
from llm_endpoint.grounding import Grounding, ground
from llm_endpoint.metrics import Metrics
from llm_endpoint.served.prompt import Prompt
from llm_endpoint.telemetry.telemetry import RequestTrace, Telemetry

logger = logging.getLogger(__name__)

_LONG_CONTEXT = 20_000
"""Characters from which the evidence is looked for in a thread."""

_TURNS: dict[str, type[BaseMessage]] = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}


@dataclass(frozen=True)
class Question:
    """A question with the context that should answer it."""

    question: str
    context: str


@dataclass(frozen=True)
class Caller:
    """Who asks, for traces."""

    protocol: str
    session_id: str | None = None


@dataclass
class Answer:
    """A finished answer."""

    response: str
    trace_id: UUID
    usage: Usage
    finish_reason: str
    latency_seconds: float
    time_to_first_token_seconds: float | None
    grounding: Grounding | None
    """None for a conversation, which has no context to hold it against."""


@dataclass
class Stream:
    """An answer under way. Iterate `pieces`; `answer` is set when they have ended."""

    trace_id: UUID
    pieces: AsyncIterator[str] = field(init=False)
    answer: Answer | None = None


class Answering:
    """Answers questions and conversations with one engine.

    Args:
        engine: Started.
        prompt: Of the served model.
        has_chat: The model takes conversations.
        shield: Marks control tokens of the prompt template for the encoder.
        defaults: Sampling where a request says nothing.
        timeout_seconds: From arrival to the last token.
    """

    def __init__(
        self,
        engine: Engine,
        prompt: Prompt,
        has_chat: bool,
        shield: Callable[[str], str],
        defaults: Sampling,
        timeout_seconds: float,
        telemetry: Telemetry,
        metrics: Metrics,
        recent: RecentAnswers,
    ) -> None:
        self.engine, self.prompt, self.has_chat, self.defaults = engine, prompt, has_chat, defaults
        self._timeout_seconds = timeout_seconds
        self._telemetry, self._metrics, self._recent = telemetry, metrics, recent
        llm = EngineChatModel(engine=engine)
        self._qa_chain = build_chain(build_prompt_template(prompt, shield), llm)
        self._chat_chain: Runnable[Any, str] = llm | InlineStrOutputParser()

    def ask(self, question: Question, sampling: Sampling, caller: Caller) -> Stream:
        """Answer a question from its context."""
        inputs = {"context": question.context, "question": question.question}
        return self._run(self._qa_chain, inputs, Exchange(sampling), caller, question)

    def chat(self, messages: Sequence[Message], sampling: Sampling, caller: Caller) -> Stream:
        """Continue a conversation.

        A model without a chat template answers context questions only: the last message is the question, what comes
        before it is the context.

        Raises:
            InvalidInput: If such a model gets no context.
        """
        if self.has_chat:
            turns = [_TURNS[message.role](content=message.content) for message in messages]
            return self._run(self._chat_chain, turns, Exchange(sampling), caller, None)
        *before, last = messages
        if last.role != "user" or not before:
            raise InvalidInput(
                "this model answers questions from a context: send the context as a system message "
                "and the question as the last user message."
            )
        context = "\n".join(message.content for message in before)
        return self.ask(Question(last.content, context), sampling, caller)

    def complete(self, text: str, sampling: Sampling, caller: Caller) -> Stream:
        """Continue a text as it stands."""
        turns = [HumanMessage(content=text)]
        return self._run(self._chat_chain, turns, Exchange(sampling, text=text), caller, None)

    async def finish(self, stream: Stream) -> Answer:
        """Receive an answer to its end."""
        async for _ in stream.pieces:
            pass
        if stream.answer is None:
            raise GenerationError("the answer ended without a result.")
        return stream.answer

    def _run(
        self, chain: Runnable[Any, str], inputs: Any, exchange: Exchange, caller: Caller, question: Question | None
    ) -> Stream:
        info = self.engine.info
        trace = self._telemetry.start(caller.session_id, {"protocol": caller.protocol, **info.trace_facts()})
        stream = Stream(trace.trace_id)
        stream.pieces = self._pieces(stream, chain, inputs, exchange, trace, question)
        return stream

    async def _pieces(
        self,
        stream: Stream,
        chain: Runnable[Any, str],
        inputs: Any,
        exchange: Exchange,
        trace: RequestTrace,
        question: Question | None,
    ) -> AsyncGenerator[str, None]:
        started = time.monotonic()
        first: float | None = None
        said: list[str] = []
        error = "the caller left"
        try:
            async with aclosing(self._guarded(chain, inputs, exchange, trace)) as pieces:
                async for piece in pieces:
                    # a model begins with the space that its prompt ends before
                    text = piece if said else piece.lstrip()
                    if not text:
                        continue
                    if first is None:
                        first = time.monotonic() - started
                    said.append(text)
                    yield text
            stream.answer = await self._conclude(stream, "".join(said), exchange, started, first, question)
            error = ""
        except EndpointError as problem:
            error = f"{type(problem).__name__}: {problem}"
            self._metrics.errors.labels(type(problem).__name__).inc()
            raise
        except Exception as problem:
            error = f"internal error: {type(problem).__name__}"
            self._metrics.errors.labels("internal").inc()
            logger.exception("request %s failed", stream.trace_id)
            raise GenerationError(f"the answer failed inside the server (request {stream.trace_id}).") from problem
        finally:
            if exchange.generation is not None:
                exchange.generation.cancel()
            trace.finish(error or None, self._facts(stream.answer, exchange, first))

    async def _guarded(
        self, chain: Runnable[Any, str], inputs: Any, exchange: Exchange, trace: RequestTrace
    ) -> AsyncGenerator[str, None]:
        """The pieces of the answer that the chain asks for, until the time is over."""
        # the chain's task copies the context when it is made, so that requests of one task keep apart
        current_exchange.set(exchange)
        config: Any = {"run_id": trace.trace_id, "callbacks": trace.callbacks, "run_name": "context_qa"}
        work = asyncio.ensure_future(chain.ainvoke(inputs, config))
        work.add_done_callback(lambda _: exchange.begin())
        late = False

        def expire() -> None:
            nonlocal late
            late = True
            if exchange.generation is not None:
                exchange.generation.cancel()

        timer = asyncio.get_running_loop().call_later(self._timeout_seconds, expire)
        said: list[str] = []
        try:
            await exchange.begun
            if exchange.generation is not None:
                try:
                    if late:
                        expire()
                    async for delta in exchange.generation:
                        said.append(delta.text)
                        yield delta.text
                    if late:
                        raise RequestTimeout(
                            f"the answer took longer than {self._timeout_seconds:.0f} s. "
                            "Ask for fewer tokens, or try again later."
                        )
                except Exception as error:
                    # the chain's runs end with it, and hand it on
                    exchange.answered.set_exception(error)
                else:
                    exchange.answered.set_result("".join(said))
            await work
        finally:
            timer.cancel()
            if not work.done():
                work.cancel()
                await asyncio.wait((work,))

    async def _conclude(
        self,
        stream: Stream,
        text: str,
        exchange: Exchange,
        started: float,
        first: float | None,
        question: Question | None,
    ) -> Answer:
        generation = exchange.generation
        usage = generation.usage if generation else Usage()
        response, grounding = text.rstrip(), None
        if question is not None:
            grounding = await self._ground(response, question)
            self._recent.remember(stream.trace_id, question.question, question.context, response)
            self._metrics.answers.labels("supported" if grounding.supported else "not_in_context").inc()
        self._metrics.model_answers.labels(self.engine.info.adapter or "base").inc()
        for kind, number in (
            ("prompt", usage.prompt_tokens),
            ("cached", usage.cached_tokens),
            ("completion", usage.completion_tokens),
        ):
            self._metrics.tokens.labels(kind).inc(number)
        if first is not None:
            self._metrics.first_token.observe(first)
        return Answer(
            response,
            stream.trace_id,
            usage,
            (generation.finish_reason if generation else None) or "stop",
            time.monotonic() - started,
            first,
            grounding,
        )

    async def _ground(self, response: str, question: Question) -> Grounding:
        parts = (response, question.context, question.question, self.prompt.no_answer_text)
        if len(question.context) < _LONG_CONTEXT:
            return ground(*parts)
        # a second of work for the longest bodies, which must not hold up the other answers
        return await asyncio.to_thread(ground, *parts)

    @staticmethod
    def _facts(answer: Answer | None, exchange: Exchange, first: float | None) -> dict[str, Any]:
        usage = exchange.generation.usage if exchange.generation else Usage()
        facts: dict[str, Any] = {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "cached_tokens": usage.cached_tokens,
            "time_to_first_token_seconds": first,
        }
        if answer is not None:
            facts["finish_reason"] = answer.finish_reason
            if first is None:
                # nothing was said: the first token was the end
                facts["time_to_first_token_seconds"] = answer.latency_seconds
            if answer.grounding is not None:
                facts["supported"] = answer.grounding.supported
        return facts
