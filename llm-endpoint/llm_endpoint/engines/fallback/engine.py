"""The chain of two engines: whom a request goes to, when the primary is left alone, and who tries it again."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from llm_endpoint.breaker import Breaker
from llm_endpoint.engines.fallback.failures import Reason, asked_wait, is_callers, reason_of
from llm_endpoint.engines.fallback.generation import FallbackGeneration
from llm_endpoint.engines.seam import Engine, EngineInfo, Generation, GenerationRequest
from llm_endpoint.errors import EndpointError, NotReady, RequestTimeout, TooManyRequests

logger = logging.getLogger(__name__)

START_SECONDS = 10.0
"""A service that does not start within this is taken to be away."""
AGAIN_SECONDS = 30.0
"""Between two tries to start a service that stands in."""

Count = Callable[[str, str], None]
"""Called with a kind of event and what it was: `call` with an outcome, `hedge` with the winner, `handover` with a
reason."""


class FallbackEngine:
    """Asks the primary, and the stand-in when the primary fails, is late, or has failed before.

    While the breaker is open the stand-in answers everybody; from time to time a copy of a request also goes to the
    primary, and its outcome, not the user's answer, decides whether the breaker closes.

    Args:
        primary: Asked first.
        stand_in: Takes over.
        breaker: Of the primary.
        first_token_seconds: The stand-in starts, too, when the primary has said nothing for so long.
        stall_seconds: It takes over when the primary falls silent for so long in the middle of an answer.
        count: Hears of events, for metrics.
    """

    def __init__(
        self,
        primary: Engine,
        stand_in: Engine,
        breaker: Breaker,
        first_token_seconds: float,
        stall_seconds: float,
        count: Count,
    ) -> None:
        self.primary, self.stand_in, self.breaker = primary, stand_in, breaker
        self.first_token_seconds, self.stall_seconds, self.count = first_token_seconds, stall_seconds, count
        self._heard_at = 0.0
        """When the primary last began an answer."""
        self._away = False
        """The service has not been started."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    @property
    def info(self) -> EngineInfo:
        """Of the primary."""
        return self.primary.info

    async def start(self) -> None:
        """Load the local model, which must be there; a service may come later.

        Raises:
            ModelError: If the local model cannot be served.
        """
        service, local = self._sides()
        starting = asyncio.create_task(self._start_service(service))
        try:
            await local.start()
        except BaseException:
            starting.cancel()
            raise
        error = await starting
        if error is None:
            return
        self._away = True
        logger.warning("The service does not answer yet; the local model answers meanwhile: %s", error)
        if service is self.primary:
            self.note_failure(error, "away", at_once=True)
        else:
            self._spawn(self._keep_starting(service))

    def submit(self, request: GenerationRequest) -> Generation:
        """Take a request. Raises InvalidInput, TooManyRequests or NotReady."""
        if self._stopping:
            raise NotReady("the server is shutting down.")
        if self.breaker.state() == "closed":
            try:
                return FallbackGeneration(self, request, self.primary.submit(request))
            except (TooManyRequests, NotReady) as error:
                full: Reason = "full" if isinstance(error, TooManyRequests) else "away"
                return FallbackGeneration(self, request, None, self.ask_stand_in(request), full)
        if self.breaker.take_try():
            self._spawn(self._try(request))
        return FallbackGeneration(self, request, None, self.ask_stand_in(request), "open")

    def ask_stand_in(self, request: GenerationRequest) -> Generation:
        """Submit a request to the stand-in, as it is asked there. Raises TooManyRequests or NotReady."""
        try:
            own = request.stand_in() if request.stand_in else request
            return self.stand_in.submit(replace(own, answer_start=request.answer_start, streamed=request.streamed))
        except EndpointError as error:
            if not is_callers(error):
                raise
            # another model could have answered it: no mistake of the caller's
            raise NotReady(f"the model that answers is away, and the one that stands in says: {error}") from error

    def note_begin(self) -> None:
        """The primary has said its first words."""
        self._heard_at = asyncio.get_running_loop().time()

    def note_late(self, since: float) -> None:
        """The primary was silent for too long; if it has answered nobody since then, it is left alone at once."""
        if self._heard_at < since:
            self._failed(None, at_once=True)

    def note_success(self) -> None:
        """The primary has answered to the end."""
        self.count("call", "ok")
        # what began before the breaker opened says nothing about now
        if self.breaker.state() == "closed":
            self.breaker.succeeded()

    def note_failure(self, error: EndpointError | None, reason: str, at_once: bool = False) -> None:
        """The primary has failed."""
        self.count("call", reason)
        self._failed(error, at_once)

    def healthy(self) -> bool:
        """Whether anybody can answer."""
        return self.stand_in.healthy() or (self.breaker.state() == "closed" and self.primary.healthy())

    def load(self) -> tuple[int, int]:
        """Requests running and requests waiting, of both."""
        (running, waiting), (more, waits) = self.primary.load(), self.stand_in.load()
        return running + more, waiting + waits

    async def stop(self) -> None:
        """Stop both."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(self.primary.stop(), self.stand_in.stop())

    def _sides(self) -> tuple[Engine, Engine]:
        """Service and local model."""
        return (self.primary, self.stand_in) if self.info.source == "service" else (self.stand_in, self.primary)

    def _failed(self, error: EndpointError | None, at_once: bool) -> None:
        before, wait = self.breaker.state(), asked_wait(error)
        opened = self.breaker.failed(at_once or wait > 0, wait)
        if opened and before == "closed":
            said = error or "no first token in time"
            logger.warning("The stand-in answers for %.0f s: %s", self.breaker.wait_seconds(), said)

    async def _try(self, request: GenerationRequest) -> None:
        """See whether the primary is back, with a copy of a request whose answer nobody waits for."""
        generation: Generation | None = None
        try:
            if self._away:
                error = await self._start_service(self.primary)
                if error is not None:
                    raise error
                self._away = False
            generation = self.primary.submit(replace(request, streamed=False))
            async with asyncio.timeout(self.first_token_seconds) as limit:
                async for _ in generation:
                    limit.reschedule(asyncio.get_running_loop().time() + self.first_token_seconds)
        except TimeoutError:
            self.note_failure(None, "slow")
        except EndpointError as error:
            if not is_callers(error):
                self.note_failure(error, reason_of(error))
                return
            self._recovered()
        except asyncio.CancelledError:
            self.breaker.forget_try()
            raise
        else:
            self._recovered()
        finally:
            if generation is not None:
                generation.cancel()

    def _recovered(self) -> None:
        self.count("call", "ok")
        self.breaker.succeeded()
        logger.info("The primary answers again")

    async def _start_service(self, service: Engine) -> EndpointError | None:
        try:
            async with asyncio.timeout(START_SECONDS):
                await service.start()
        except TimeoutError:
            await service.stop()
            return RequestTimeout(f"it did not start within {START_SECONDS:.0f} s.")
        except EndpointError as error:
            return error
        return None

    async def _keep_starting(self, service: Engine) -> None:
        while self._away:
            await asyncio.sleep(AGAIN_SECONDS)
            self._away = await self._start_service(service) is not None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
