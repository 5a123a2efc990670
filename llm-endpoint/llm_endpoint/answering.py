"""One request from question to grounded answer: chain, evidence, trace, numbers; the protocols are thin around it."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.runnables import Runnable

from llm_endpoint.answer import Answer, Caller, Stream, say_sources
from llm_endpoint.asking import Asking, Question
from llm_endpoint.chain import InlineStrOutputParser, build_chain, build_prompt_template
from llm_endpoint.chat_model import EngineChatModel, Exchange, current_exchange
from llm_endpoint.engines.seam import (
    Delta,
    Engine,
    EngineInfo,
    GenerationRequest,
    Handover,
    Message,
    Sampling,
    SharedGeneration,
    Usage,
    who_answered,
)
from llm_endpoint.errors import EndpointError, GenerationError, RequestTimeout
from llm_endpoint.feedback import RecentAnswers
from llm_endpoint.grounding import Grounding, ground
from llm_endpoint.metrics import Metrics
from llm_endpoint.shadow import Shadow
from llm_endpoint.telemetry.telemetry import RequestTrace, Telemetry

__all__ = ["Answer", "Answering", "Asking", "Caller", "Question", "Stream"]

logger = logging.getLogger(__name__)

_LONG_CONTEXT = 20_000
"""Characters from which the evidence is looked for in a thread."""

_TURNS: dict[str, type[BaseMessage]] = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}


class Answering:
    """Answers questions and conversations with one engine.

    Args:
        engine: Started.
        asking: How its model is asked; of two, the primary.
        timeout_seconds: From arrival to the last token.
        stand_in: How the other model of a chain is asked.
        shadow: Also asks the local model, now and then.
    """

    def __init__(
        self,
        engine: Engine,
        asking: Asking,
        timeout_seconds: float,
        telemetry: Telemetry,
        metrics: Metrics,
        recent: RecentAnswers,
        stand_in: Asking | None = None,
        shadow: Shadow | None = None,
    ) -> None:
        self.engine, self.asking, self.defaults = engine, asking, asking.defaults
        self._timeout_seconds, self._stand_in, self._shadow = timeout_seconds, stand_in, shadow
        self._telemetry, self._metrics, self._recent = telemetry, metrics, recent
        llm = EngineChatModel(engine=engine)
        self._qa_chain = build_chain(build_prompt_template(asking.prompt, asking.shield), llm)
        self._chat_chain: Runnable[Any, str] = llm | InlineStrOutputParser()

    def ask(self, question: Question, sampling: Sampling, caller: Caller) -> Stream:
        """Answer a question from its context."""
        inputs = {"context": question.context, "question": question.question}
        other = self._other(sampling, lambda one, own: one.question_request(question, own))
        exchange = Exchange(sampling, streamed=caller.streamed, stand_in=other)
        return self._run(self._qa_chain, inputs, exchange, caller, question)

    def chat(self, messages: Sequence[Message], sampling: Sampling, caller: Caller) -> Stream:
        """Continue a conversation.

        A model without a chat template answers context questions only: the last message is the question, what comes
        before it is the context.

        Raises:
            InvalidInput: If such a model gets no context.
        """
        if not self.asking.has_chat:
            return self.ask(self.asking.find_question(messages), sampling, caller)
        turns = [_TURNS[message.role](content=message.content) for message in messages]
        other = self._other(sampling, lambda one, own: one.chat_request(messages, own))
        return self._run(
            self._chat_chain, turns, Exchange(sampling, streamed=caller.streamed, stand_in=other), caller, None
        )

    def complete(self, text: str, sampling: Sampling, caller: Caller) -> Stream:
        """Continue a text as it stands."""
        turns = [HumanMessage(content=text)]
        exchange = Exchange(sampling, text=text, streamed=caller.streamed)
        return self._run(self._chat_chain, turns, exchange, caller, None)

    async def finish(self, stream: Stream) -> Answer:
        """Receive an answer to its end."""
        async for _ in stream.pieces:
            pass
        if stream.answer is None:
            raise GenerationError("the answer ended without a result.")
        return stream.answer

    def _other(
        self, sampling: Sampling, make: Callable[[Asking, Sampling], GenerationRequest]
    ) -> Callable[[], GenerationRequest] | None:
        """The request as the stand-in is asked it, made only when it is."""
        one, defaults = self._stand_in, self.defaults
        return None if one is None else lambda: make(one, one.own(sampling, defaults))

    def _run(
        self, chain: Runnable[Any, str], inputs: Any, exchange: Exchange, caller: Caller, question: Question | None
    ) -> Stream:
        trace = self._telemetry.start(caller.session_id, {"protocol": caller.protocol})
        stream = Stream(trace.trace_id, lambda: who_answered(self.engine, exchange.generation))
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
    ) -> AsyncGenerator[str | Handover, None]:
        started = time.monotonic()
        first: float | None = None
        said: list[str] = []
        error = "the caller left"
        try:
            async with aclosing(self._guarded(chain, inputs, exchange, trace)) as pieces:
                async for delta in pieces:
                    if delta.handover is not None:
                        said = [] if delta.handover.anew else said
                        yield delta.handover
                    # a model begins with the space that its prompt ends before
                    text = delta.text if said else delta.text.lstrip()
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
            who = stream.who()
            facts = {"answered_by": say_sources(who), **who[-1].trace_facts()}
            trace.finish(error or None, self._facts(stream.answer, exchange, first), facts)

    async def _guarded(
        self, chain: Runnable[Any, str], inputs: Any, exchange: Exchange, trace: RequestTrace
    ) -> AsyncGenerator[Delta, None]:
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
                        if delta.handover is not None and delta.handover.anew:
                            said.clear()
                        said.append(delta.text)
                        yield delta
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
        usage, who = generation.usage if generation else Usage(), who_answered(self.engine, generation)
        response, grounding = text.rstrip(), None
        if question is not None:
            grounding = await self._ground(response, question, who[-1])
            self._recent.remember(stream.trace_id, question.question, question.context, response)
            self._metrics.answers.labels("supported" if grounding.supported else "not_in_context").inc()
        fallback = generation.reason if isinstance(generation, SharedGeneration) else ""
        shares = generation.shares() if isinstance(generation, SharedGeneration) else [(who[-1], usage)]
        self._metrics.note_answer(self.engine.info.adapter or "base", say_sources(who), fallback, shares, first)
        if self._shadow is not None and exchange.asked is not None and say_sources(who) == "service":
            self._shadow.offer(exchange.asked, response)
        return Answer(
            response,
            stream.trace_id,
            usage,
            (generation.finish_reason if generation else None) or "stop",
            time.monotonic() - started,
            first,
            grounding,
            who,
            fallback,
        )

    async def _ground(self, response: str, question: Question, info: EngineInfo) -> Grounding:
        other = self._stand_in if info.source != self.engine.info.source else None
        prompt = (other or self.asking).prompt
        parts = (response, question.context, question.question, prompt.no_answer_text)
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
