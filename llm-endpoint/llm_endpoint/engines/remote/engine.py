"""The remote engine: how many requests are open at the server, who waits, and whether the server is well."""

import asyncio
import logging

from pydantic import SecretStr

from llm_endpoint.engines.remote.failures import ParameterRefused, Passing
from llm_endpoint.engines.remote.generation import RemoteGeneration
from llm_endpoint.engines.remote.upstream import Upstream
from llm_endpoint.engines.seam import EngineInfo, GenerationRequest, Message, Sampling
from llm_endpoint.errors import (
    EndpointError,
    InvalidInput,
    ModelError,
    NotReady,
    RequestTimeout,
    ServiceError,
    TooManyRequests,
)

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.2
FAILURES_UNTIL_UNHEALTHY = 3
PROBE_SECONDS = 5.0
"""Between two looks at an unhealthy upstream: while readiness is false no request comes that could succeed."""
_WARM_UP = Sampling(max_new_tokens=1, repetition_penalty=1.0)


class RemoteEngine:
    """Answers by asking an OpenAI-compatible server, `max_running` requests at a time.

    Args:
        base_url: The server's /v1 address.
        api_key: Its key; None sends none.
        model: Its model name; None takes the first that it lists.
        timeout_seconds: From `submit` to the last token.
        max_running: Requests that are open at the upstream.
        max_queue: Requests that may wait for one of them to end.
        backed: Another engine stands in: nothing is tried twice, and whoever asks looks after the upstream's health.

    Raises:
        ModelError: If the address is none.
    """

    def __init__(
        self,
        base_url: str,
        api_key: SecretStr | None,
        model: str | None,
        timeout_seconds: float,
        max_running: int,
        max_queue: int,
        backed: bool = False,
    ) -> None:
        self._upstream = Upstream(base_url, api_key, model, timeout_seconds)
        self._timeout, self._max_running, self._max_queue = timeout_seconds, max_running, max_queue
        self.info = EngineInfo("openai", model or "", "unknown", None, "remote")
        self._backed = backed
        self._slots = asyncio.Semaphore(max_running)
        self._open: set[RemoteGeneration] = set()
        self._running = 0
        self._failures = 0
        self._ready = False
        self._probe: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Find the model and have it answer with one token.

        Raises:
            ModelError: With the remedy, if the server cannot be used.
        """
        upstream = self._upstream
        try:
            await upstream.open()
            self.info = EngineInfo("openai", upstream.model, "unknown", upstream.context_length, "remote")
            self._ready = True
            await self._warm_up()
        except EndpointError as error:
            await self.stop()
            raise ModelError(f"{error} OPENAI_BASE_URL is its address.") from error

    def submit(self, request: GenerationRequest) -> RemoteGeneration:
        """Send a request to the upstream, or queue it. Raises TooManyRequests or NotReady."""
        if not self._ready:
            raise NotReady("the model server has not answered yet. Try again in a few seconds.")
        if not request.messages and not request.text:
            raise InvalidInput("the prompt is empty.")
        if len(self._open) >= self._max_running + self._max_queue:
            raise TooManyRequests(f"{len(self._open)} requests are running or waiting. Try again in a moment.")
        generation = RemoteGeneration(request)
        self._open.add(generation)
        generation.task = asyncio.create_task(self._run(generation))
        generation.task.add_done_callback(lambda _: self._close(generation))
        return generation

    def healthy(self) -> bool:
        """False after several failures in a row, until the upstream answers again."""
        return self._failures < FAILURES_UNTIL_UNHEALTHY

    def load(self) -> tuple[int, int]:
        """Requests running and requests waiting."""
        return self._running, len(self._open) - self._running

    async def stop(self) -> None:
        """Hang up on what still runs and close the connections."""
        self._ready = False
        tasks = [generation.task for generation in self._open if generation.task is not None]
        for generation in list(self._open):
            generation.error = NotReady("the server is shutting down.")
            generation.cancel()
        if self._probe is not None:
            self._probe.cancel()
            tasks.append(self._probe)
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._upstream.close()

    def _close(self, generation: RemoteGeneration) -> None:
        self._open.discard(generation)
        generation.end()

    async def _run(self, generation: RemoteGeneration) -> None:
        asked = False
        try:
            async with asyncio.timeout(self._timeout), self._slots:
                asked = True
                self._running += 1
                try:
                    await self._answer(generation)
                finally:
                    self._running -= 1
        except TimeoutError:
            generation.error = RequestTimeout(f"the model server did not finish within {self._timeout:g} seconds.")
        except EndpointError as error:
            generation.error = error
        if asked:
            self._note(generation)

    async def _answer(self, generation: RemoteGeneration) -> None:
        tries = 1 if self._backed else 2
        while True:
            try:
                return await self._upstream.ask(generation)
            except ParameterRefused:
                # it is left out of every later request, so this ends
                continue
            except Passing as error:
                tries -= 1
                if not tries or generation.started:
                    raise error.reason from error
            await asyncio.sleep(RETRY_SECONDS)

    def _note(self, generation: RemoteGeneration) -> None:
        error = generation.error
        if error is None:
            self._failures = 0
        elif isinstance(error, RequestTimeout) and generation.started:
            # slow, but alive
            return
        elif isinstance(error, (ServiceError, ModelError)):
            self._failures += 1
            if not self.healthy() and not self._backed and (self._probe is None or self._probe.done()):
                logger.warning("The model server failed %d times in a row: %s", self._failures, error)
                self._probe = asyncio.create_task(self._wait_for_upstream())

    async def _wait_for_upstream(self) -> None:
        while not self.healthy():
            await asyncio.sleep(PROBE_SECONDS)
            if await self._upstream.answers(PROBE_SECONDS):
                self._failures = 0

    async def _warm_up(self) -> None:
        chat = GenerationRequest(messages=(Message("user", "Hello"),), sampling=_WARM_UP)
        try:
            async for _ in self.submit(chat):
                pass
        except (InvalidInput, ModelError) as error:
            # a base model has no chat template, and answers plain texts only
            try:
                async for _ in self.submit(GenerationRequest(text="Hello", sampling=_WARM_UP)):
                    pass
            except (InvalidInput, ModelError):
                raise error from None
