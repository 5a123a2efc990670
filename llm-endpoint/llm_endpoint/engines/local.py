"""An engine around a core on this machine: one thread steps it, asyncio tasks receive what it says."""

import asyncio
import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from llm_endpoint.engines.generation import LocalGeneration
from llm_endpoint.engines.seam import (
    Core,
    CoreStep,
    EngineInfo,
    FinishReason,
    GenerationRequest,
)
from llm_endpoint.engines.text import AnswerText
from llm_endpoint.engines.variant import WARM_UP, AdaptableCore, Variant
from llm_endpoint.errors import EndpointError, GenerationError, InvalidInput, ModelError, NotReady, TooManyRequests
from llm_endpoint.served.encoding import PromptEncoder

logger = logging.getLogger(__name__)

_FAILURES_IN_A_ROW = 3
"""Steps that may fail one after another before the engine counts as broken."""
_FAILED = "the model failed while it generated. The operator finds why in the log."


@dataclass(frozen=True)
class _News:
    """What the engine's thread has for one answer."""

    generation: LocalGeneration
    tokens: Sequence[int] = ()
    done: FinishReason | None = None
    error: EndpointError | None = None


def _wake_all(generations: Sequence[LocalGeneration]) -> None:
    for generation in generations:
        generation.wake()


class LocalEngine:
    """Many requests on one core, in the order of their arrival, `core.max_running` at a time.

    Args:
        open_core: Loads the model; called in the engine's thread by `start`.
        encoder: Of the model that is loaded.
        describe: What is served, once the core is there.
        one_line: A line break ends an answer.
        max_queue: Requests that may wait.
    """

    def __init__(
        self,
        open_core: Callable[[], Core],
        encoder: PromptEncoder,
        describe: Callable[[Core], EngineInfo],
        one_line: bool,
        max_queue: int,
    ) -> None:
        self.encoder = encoder
        self._plain = Variant(encoder, one_line)
        self.info = EngineInfo("loading", "", "", None, "")
        self._open_core, self._describe, self._max_queue = open_core, describe, max_queue
        self._keys = itertools.count(1)
        self._changed = threading.Condition()
        self._waiting: deque[LocalGeneration] = deque()
        self._running: dict[int, LocalGeneration] = {}
        self._cancelled: list[int] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._core: Core | None = None
        self._thread: threading.Thread | None = None
        self._failure: EndpointError | None = None
        self._stopping = False
        self._open = False
        """Takes requests."""

    async def start(self) -> None:
        """Load the core in the engine's thread and answer one request.

        Raises:
            ModelError: If the model cannot be served.
        """
        loop = self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        self._thread = threading.Thread(target=self._run, args=(loop, opened), name="engine", daemon=True)
        self._thread.start()
        await opened
        self._open = True
        try:
            async for _ in self.submit(WARM_UP):
                pass
        except EndpointError as error:
            self._open = False
            raise ModelError(f"the model was loaded but does not answer: {error}") from error

    def submit(self, request: GenerationRequest, variant: Variant | None = None) -> LocalGeneration:
        """Queue a request, for the model or a variant of it. Raises InvalidInput, TooManyRequests or NotReady."""
        variant = variant or self._plain
        core = self._core
        if self._failure is not None:
            raise self._failure
        if core is None or not self._open:
            raise NotReady("the model is still warming up. Try again in a few seconds.")
        ids = variant.encoder.encode(request)
        room = core.context_length - len(ids)
        if not ids:
            raise InvalidInput("the prompt is empty.")
        if room < 1:
            raise InvalidInput(
                f"the prompt has {len(ids)} tokens and the model reads {core.context_length}, answer included. "
                "Shorten the context."
            )
        sampling = replace(request.sampling, max_new_tokens=min(request.sampling.max_new_tokens, room))
        text = AnswerText(variant.encoder.tokenizer, sampling.stop, variant.one_line, bool(request.answer_start))
        generation = LocalGeneration(
            next(self._keys), variant, ids, sampling, text, self.forget, lambda: len(self._running)
        )
        with self._changed:
            # a waiting place is needed only when every running one is taken
            if len(self._running) + len(self._waiting) >= core.max_running + self._max_queue:
                raise TooManyRequests(f"{len(self._waiting)} requests are already waiting. Try again in a moment.")
            self._waiting.append(generation)
            self._changed.notify()
        return generation

    def forget(self, key: int) -> None:
        """Drop a request wherever it is."""
        with self._changed:
            if key in self._running:
                del self._running[key]
                self._cancelled.append(key)
            else:
                self._waiting = deque(generation for generation in self._waiting if generation.key != key)
            self._changed.notify()

    def healthy(self) -> bool:
        """False once the core has failed."""
        return self._failure is None and (self._thread is None or self._thread.is_alive())

    def load(self) -> tuple[int, int]:
        """Requests running and requests waiting."""
        return len(self._running), len(self._waiting)

    def count(self, variant: Variant) -> int:
        """Requests for a variant that run or wait."""
        with self._changed:
            return sum(one.variant is variant for one in (*self._running.values(), *self._waiting))

    def adaptable(self) -> AdaptableCore:
        """The core, to read adapters for it.

        Raises:
            ModelError: If it takes none.
        """
        if not isinstance(self._core, AdaptableCore):
            raise ModelError("this engine takes no adapters. Unset ENGINE, or set it to transformers.")
        return self._core

    async def stop(self) -> None:
        """Cancel what still runs and free the core."""
        self._open = False
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 10.0)

    def _run(self, loop: asyncio.AbstractEventLoop, opened: "asyncio.Future[None]") -> None:
        try:
            core = self._open_core()
        except EndpointError as error:
            loop.call_soon_threadsafe(opened.set_exception, error)
            return
        except Exception as error:
            logger.debug("loading failed", exc_info=error)
            failure = ModelError(f"the model cannot be loaded: {type(error).__name__}: {_first_line(error)}.")
            failure.__cause__ = error
            loop.call_soon_threadsafe(opened.set_exception, failure)
            return
        self._core, self.info = core, self._describe(core)
        loop.call_soon_threadsafe(opened.set_result, None)
        failures = 0
        while failures < _FAILURES_IN_A_ROW and self._take_turn(core):
            try:
                self._deliver(core.step())
                failures = 0
            except Exception as error:
                failures += 1
                logger.exception("a step of the engine failed; the requests that were running are given up")
                self._give_up_running(core, error)
        if failures:
            logger.error("the engine failed %d times in a row and takes no more requests", failures)
            self._failure = GenerationError(_FAILED)
        self._abandon()
        core.close()

    def _give_up_running(self, core: Core, error: Exception) -> None:
        """End what a failed step was working on, so that one bad request does not end the server."""
        with self._changed:
            left, self._running = list(self._running.values()), {}
        failure = GenerationError(_FAILED)
        failure.__cause__ = error
        for generation in left:
            core.cancel(generation.key)
        self._post([_News(generation, error=failure) for generation in left])

    def _take_turn(self, core: Core) -> bool:
        """Hand over arrivals and cancellations, wait while there is nothing to do; False to end."""
        with self._changed:
            while not (self._stopping or self._waiting or self._running or self._cancelled):
                self._changed.wait()
            if self._stopping:
                return False
            cancelled, self._cancelled = self._cancelled, []
            arrived = []
            while self._waiting and len(self._running) < core.max_running:
                generation = self._waiting.popleft()
                self._running[generation.key] = generation
                arrived.append(generation)
        for key in cancelled:
            core.cancel(key)
        for generation in arrived:
            try:
                _add(core, generation)
            except EndpointError as error:
                with self._changed:
                    self._running.pop(generation.key, None)
                self._post([_News(generation, error=error)])
        return True

    def _deliver(self, steps: list[CoreStep]) -> None:
        with self._changed:
            pairs = [(self._running.get(step.key), step) for step in steps]
            for step in steps:
                if step.finish_reason is not None:
                    self._running.pop(step.key, None)
        news = []
        for generation, step in pairs:
            if generation is None:
                continue
            if step.cached_tokens is not None:
                generation.usage.cached_tokens = step.cached_tokens
            if step.token_ids or step.finish_reason is not None:
                news.append(_News(generation, step.token_ids, step.finish_reason))
        self._post(news)

    def _post(self, news: Sequence[_News]) -> None:
        waiting = [item.generation for item in news if item.generation.receive(item.tokens, item.done, item.error)]
        if not waiting or self._loop is None:
            return
        try:
            # once for a whole step
            self._loop.call_soon_threadsafe(_wake_all, waiting)
        except RuntimeError:
            logger.debug("the event loop has ended; nobody waits for %d answers", len(waiting))

    def _abandon(self) -> None:
        with self._changed:
            left = [*self._running.values(), *self._waiting]
            self._running, self._waiting = {}, deque()
        error = self._failure or NotReady("the server is shutting down.")
        self._post([_News(generation, error=error) for generation in left])


def _add(core: Core, generation: LocalGeneration) -> None:
    variant, stop_ids = generation.variant, frozenset(generation.variant.encoder.stop_ids)
    if variant.adapter is not None and isinstance(core, AdaptableCore):
        core.add_adapted(generation.key, generation.prompt_ids, generation.sampling, stop_ids, variant.adapter)
    else:
        core.add(generation.key, generation.prompt_ids, generation.sampling, stop_ids)


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else "no details"
