"""Dynamic batching: the inputs of all requests share batches; nobody waits for a batch to fill.

While as many batches run as the runtime takes at once, what arrives queues; the next batch is made of it at once.
Rows are served fairly: a request of many rows does not hold up one of a single row, nor is it held up for ever.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from llm_endpoint.engines.heads.seam import Runtime
from llm_endpoint.engines.seam import EngineInfo
from llm_endpoint.errors import EndpointError, GenerationError, ModelError, NotReady, TooManyRequests
from llm_endpoint.heads.encoding import Piece
from llm_endpoint.heads.plan import choose, pad

logger = logging.getLogger(__name__)

_FAILURES_IN_A_ROW = 3
"""Batches that may fail one after another before the engine counts as broken."""
_FAILED = "the model failed on this request. The operator finds why in the log."


@dataclass(eq=False)
class _Job:
    """The inputs of one request."""

    outputs: list[Any]
    done: "asyncio.Future[list[Any]]"
    left: int
    begun: bool = False
    given_up: bool = False


@dataclass
class _Waiting:
    """One input in the queue."""

    job: _Job
    place: int
    piece: Piece
    turn: int
    """Tokens that were served, or wait, before it: the smallest is next."""
    length: int = field(init=False)

    def __post_init__(self) -> None:
        self.length = len(self.piece.input_ids)


class HeadEngine:
    """Runs inputs in batches.

    Args:
        open_runtime: Loads the model; called in the engine's thread by `start`.
        describe: What is served, once the model is there.
        pad_token_id: Fills up batches.
        most_tokens: Of a batch, padding included.
        most_requests: Taken at once; more get TooManyRequests.
        on_batch: Hears the size of each batch.
    """

    def __init__(
        self,
        open_runtime: Callable[[], Runtime],
        describe: Callable[[Runtime], EngineInfo],
        pad_token_id: int,
        most_tokens: int,
        most_requests: int,
        on_batch: Callable[[int], None],
    ) -> None:
        self.info = EngineInfo("loading", "", "", None, "")
        self._open_runtime, self._describe, self._on_batch = open_runtime, describe, on_batch
        self._pad_token_id, self._most_tokens, self._most_requests = pad_token_id, most_tokens, most_requests
        self._changed = threading.Condition()
        self._queue: list[_Waiting] = []
        self._served = 0
        self._jobs: set[_Job] = set()
        self._places = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._failure: EndpointError | None = None
        self._failures = 0
        """Batches that failed one after another, whatever their lane."""
        self._open = self._stopping = False

    async def start(self) -> None:
        """Load the model in the engine's thread.

        Raises:
            ModelError: If it cannot be served.
        """
        self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, args=(self._loop, opened), name="engine", daemon=True)
        self._thread.start()
        await opened
        self._open = True

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a request's place from its arrival to its answer.

        Raises:
            TooManyRequests: If all places are taken.
            NotReady: Before start and after stop.
        """
        if self._failure is not None:
            raise self._failure
        if not self._open:
            raise NotReady("the model is not there yet, or the server is shutting down. Try again in a few seconds.")
        if self._places >= self._most_requests:
            raise TooManyRequests(f"{self._places} requests are already under way. Try again in a moment.")
        self._places += 1
        try:
            yield
        finally:
            self._places -= 1

    async def run(self, pieces: Sequence[Piece]) -> list[Any]:
        """Logits of each input: shape (k,), or (tokens, k) with padding behind. Cancelling it takes them back."""
        assert self._loop is not None
        job = _Job([None] * len(pieces), self._loop.create_future(), len(pieces))
        with self._changed:
            if self._failure is not None:
                raise self._failure
            if self._stopping:
                raise NotReady("the server is shutting down.")
            turn = self._served
            for place, piece in enumerate(pieces):
                self._queue.append(_Waiting(job, place, piece, turn))
                turn += len(piece.input_ids)
            self._jobs.add(job)
            self._changed.notify()
        try:
            return await job.done
        finally:
            with self._changed:
                self._jobs.discard(job)
                if job.left:
                    job.given_up = True
                    self._queue = [waiting for waiting in self._queue if waiting.job is not job]

    def healthy(self) -> bool:
        """False once the model has failed for good."""
        return self._failure is None and (self._thread is None or self._thread.is_alive())

    def load(self) -> tuple[int, int]:
        """Requests of which an input runs or has run, and requests that wait."""
        running = sum(job.begun for job in list(self._jobs))
        return running, max(0, self._places - running)

    async def stop(self) -> None:
        """Finish the batch that runs; what still waits gets NotReady."""
        self._open = False
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 10.0)

    def _run(self, loop: asyncio.AbstractEventLoop, opened: "asyncio.Future[None]") -> None:
        try:
            runtime = self._open_runtime()
        except EndpointError as error:
            loop.call_soon_threadsafe(opened.set_exception, error)
            return
        except Exception as error:
            logger.debug("loading failed", exc_info=error)
            failure = ModelError(f"the model cannot be loaded: {type(error).__name__}: {str(error)[:200]}.")
            failure.__cause__ = error
            loop.call_soon_threadsafe(opened.set_exception, failure)
            return
        self.info = self._describe(runtime)
        loop.call_soon_threadsafe(opened.set_result, None)
        lanes = [
            threading.Thread(target=self._serve, args=(runtime,), name=f"engine-{number}", daemon=True)
            for number in range(1, runtime.lanes)
        ]
        for lane in lanes:
            lane.start()
        self._serve(runtime)
        for lane in lanes:
            lane.join()
        if self._failures >= _FAILURES_IN_A_ROW:
            logger.error("the model failed %d times in a row and takes no more requests", self._failures)
            self._failure = GenerationError(_FAILED)
        with self._changed:
            left, self._queue = set(self._jobs), []
        self._fail(left, self._failure or NotReady("the server is shutting down."))

    def _serve(self, runtime: Runtime) -> None:
        """Run batches, one after the other, until the engine stops or has failed for good."""
        while batch := self._next_batch():
            try:
                outputs = runtime.run(pad([waiting.piece for waiting in batch], self._pad_token_id))
                if not np.isfinite(outputs).all():
                    raise ValueError("the model answers with numbers that are not finite")
            except Exception as error:
                logger.exception("a batch of %d inputs failed", len(batch))
                with self._changed:
                    self._failures += 1
                    self._changed.notify_all()
                self._fail({waiting.job for waiting in batch}, GenerationError(_FAILED), error)
            else:
                with self._changed:
                    if not self._ended():  # the other lanes have given up, then, and wait for this one
                        self._failures = 0
                self._on_batch(len(batch))
                self._deliver(batch, outputs)

    def _next_batch(self) -> list[_Waiting]:
        """Wait for inputs and take a batch of them; empty to end."""
        with self._changed:
            while not (self._queue or self._ended()):
                self._changed.wait()
            if self._ended():
                return []
            first = min(range(len(self._queue)), key=lambda place: self._queue[place].turn)
            chosen = set(choose([waiting.length for waiting in self._queue], first, self._most_tokens))
            self._served = self._queue[first].turn
            batch = [waiting for place, waiting in enumerate(self._queue) if place in chosen]
            self._queue = [waiting for place, waiting in enumerate(self._queue) if place not in chosen]
            for waiting in batch:
                waiting.job.begun = True
            return batch

    def _ended(self) -> bool:
        return self._stopping or self._failures >= _FAILURES_IN_A_ROW

    def _deliver(self, batch: Sequence[_Waiting], outputs: Any) -> None:
        done = []
        with self._changed:  # another lane may finish another part of the same request
            for waiting, values in zip(batch, outputs, strict=True):
                waiting.job.outputs[waiting.place] = values
                waiting.job.left -= 1
                if not waiting.job.left:
                    done.append(waiting.job)
        self._post(partial(_answer_all, done))

    def _fail(self, jobs: set[_Job], error: EndpointError, cause: Exception | None = None) -> None:
        error.__cause__ = cause
        with self._changed:
            self._queue = [waiting for waiting in self._queue if waiting.job not in jobs]
        self._post(partial(_refuse_all, jobs, error))

    def _post(self, news: Callable[[], object]) -> None:
        try:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(news)  # once for a whole batch
        except RuntimeError:
            logger.debug("the event loop has ended; nobody waits for answers")


def _answer_all(jobs: Sequence[_Job]) -> None:
    for job in jobs:
        if not job.done.done():
            job.done.set_result(job.outputs)


def _refuse_all(jobs: set[_Job], error: EndpointError) -> None:
    for job in jobs:
        if not job.done.done():
            job.done.set_exception(error)
