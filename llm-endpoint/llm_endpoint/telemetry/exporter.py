"""Delivery in the background: a bounded queue, batches, patience with a service that is down, and counted losses."""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from llm_endpoint.breaker import Breaker
from llm_endpoint.telemetry.records import Item

logger = logging.getLogger(__name__)

_LAST_WAIT_SECONDS = 0.2

OnCount = Callable[[str, str, int], None]
"""Called with event, reason and a number of items. Events: `sent`; `retried`; `lost` with the reason queue_full,
rejected, failed or shutdown. Called from the request's thread or the exporter's; must not block."""


class SendError(Exception):
    """A batch was not taken; the message holds no secret and no content."""

    def __init__(self, message: str, *, retry: bool, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry = retry
        """False: the same batch will never be taken."""
        self.retry_after = retry_after
        """Seconds that the service asked for."""


class Sink(Protocol):
    """Where items go."""

    name: str

    def send(self, items: Sequence[Item]) -> None:
        """Deliver a batch, all of one type; sending one again must do no harm.

        Raises:
            SendError: If it was not taken.
        """
        ...


@dataclass(frozen=True)
class Limits:
    """Bounds of memory and time."""

    items: int = 2048
    """Held in all, the batch under way included; more are dropped."""
    bytes: int = 32 * 2**20
    batch_items: int = 64
    batch_bytes: int = 4 * 2**20
    linger_seconds: float = 0.5
    """Time to let a batch fill."""
    attempts: int = 5
    """Tries of one batch."""
    backoff_seconds: float = 0.5
    """Wait after the first failure; doubles, with jitter."""
    longest_backoff_seconds: float = 30.0
    breaker_failures: int = 5
    """Failures in a row after which the service is left alone."""
    breaker_seconds: float = 30.0
    """For so long; then one batch tries again."""
    longest_retry_after_seconds: float = 120.0


class Exporter:
    """Takes items without waiting and sends them from one thread of its own."""

    def __init__(
        self,
        open_sink: Callable[[], Sink],
        mask: Callable[[Item], Item],
        on_count: OnCount,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        """Start the thread, which opens the sink at once so that the first request does not meet its imports.

        Args:
            open_sink: Makes the sink, in the thread: libraries may take seconds to load. May raise SendError, and is
                then called again for the next batch.
            mask: Makes of an item what may leave the process; an item for which it fails is lost.
            on_count: Hears of every item that was sent or lost.
            limits: Bounds.
        """
        self._open_sink, self._mask, self._on_count, self._limits = open_sink, mask, on_count, limits
        self._sink: Sink | None = None
        self._queue: deque[Item] = deque()
        self._bytes = 0
        """Of the queue and of the batch under way."""
        self._under_way = 0
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._stopped = False
        self._told = False
        self._breaker = Breaker(limits.breaker_failures, limits.breaker_seconds)
        threading.Thread(target=self._run, name="telemetry", daemon=True).start()

    def put(self, item: Item) -> bool:
        """Queue an item; False if it was dropped instead, because the queue is full or closed."""
        with self._changed:
            closed = self._stopped or self._closing.is_set()
            full = (
                len(self._queue) + self._under_way >= self._limits.items or self._bytes + item.size > self._limits.bytes
            )
            if not (closed or full):
                self._queue.append(item)
                self._bytes += item.size
                if len(self._queue) == 1:
                    self._changed.notify_all()
                return True
        self._on_count("lost", "shutdown" if closed else "queue_full", 1)
        return False

    def waiting(self) -> tuple[int, int]:
        """Items held and their bytes."""
        with self._changed:
            return len(self._queue) + self._under_way, self._bytes

    def flush(self, deadline_seconds: float) -> bool:
        """Wait until nothing is held; False if the deadline came first."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue and not self._under_way, deadline_seconds)

    def close(self, deadline_seconds: float) -> None:
        """Send what is held, and return at the deadline at the latest; what is left then is counted as lost.

        A call that hangs stays behind in its thread, which does not keep the process.
        """
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        self.flush(deadline_seconds)
        with self._changed:
            already, self._stopped = self._stopped, True
            left = len(self._queue) + self._under_way
            self._queue.clear()
            self._bytes = self._under_way = 0
            self._changed.notify_all()
        if left and not already:
            self._on_count("lost", "shutdown", left)
            logger.warning("%d traces or feedbacks were lost: they could not be sent before the end", left)

    def _run(self) -> None:
        with suppress(Exception):  # reported when there is something to send
            self._sink = self._open_sink()
        while batch := self._take():
            size = sum(item.size for item in batch)
            try:
                reason = self._deliver(batch)
            except Exception as error:
                # whatever a library raises, this thread must live: only its type is logged, the text could be content
                logger.error("A batch of %d was lost: %s in the delivery", len(batch), type(error).__name__)
                reason = "failed"
            with self._changed:
                if self._stopped:
                    return  # close() has counted this batch
                self._on_count("lost" if reason else "sent", reason, len(batch))
                self._under_way = 0
                self._bytes -= size
                self._changed.notify_all()

    def _take(self) -> list[Item]:
        """The next batch, all of one type; [] at the end."""
        with self._changed:
            while not self._queue:
                if self._stopped or self._closing.is_set():
                    return []
                self._changed.wait()
        self._closing.wait(self._limits.linger_seconds)
        batch: list[Item] = []
        size = 0
        with self._changed:
            while self._queue and len(batch) < self._limits.batch_items:
                item = self._queue[0]
                if batch and (size + item.size > self._limits.batch_bytes or type(item) is not type(batch[0])):
                    break
                batch.append(self._queue.popleft())
                size += item.size
            self._under_way = len(batch)
        return batch

    def _deliver(self, batch: list[Item]) -> str:
        """Send a batch; "" when it was taken, or why it is lost."""
        masked = [self._mask(item) for item in batch]
        for attempt in range(1, self._limits.attempts + 1):
            self._pause(self._breaker.wait_seconds())
            try:
                if self._sink is None:
                    self._sink = self._open_sink()
                self._sink.send(masked)
            except SendError as error:
                self._note_failure(error)
                if not error.retry:
                    return "rejected"
                if attempt < self._limits.attempts and not self._stopped:
                    self._on_count("retried", "", len(batch))
                    self._pause(self._backoff(attempt, error.retry_after))
            else:
                self._breaker.succeeded()
                if self._told:
                    logger.info("Traces are taken again")
                self._told = False
                return ""
            if self._stopped:
                break
        return "failed"

    def _note_failure(self, error: SendError) -> None:
        """Tell the operator once per outage: at once if only he can end it, else when it lasts."""
        lasting = self._breaker.failed() or not error.retry
        if lasting and not self._told:
            self._told = True
            logger.warning(
                "Traces are not taken: %s. Answers are not affected; what is lost is counted in /metrics", error
            )

    def _backoff(self, attempt: int, retry_after: float | None) -> float:
        seconds = min(self._limits.backoff_seconds * 2.0 ** (attempt - 1), self._limits.longest_backoff_seconds)
        seconds *= random.uniform(0.5, 1.5)  # noqa: S311 - many endpoints must not come back at the same moment
        return max(seconds, min(retry_after or 0.0, self._limits.longest_retry_after_seconds))

    def _pause(self, seconds: float) -> None:
        """Wait; at shutdown only for a moment, because the deadline is near."""
        if seconds > 0 and self._closing.wait(seconds):
            time.sleep(min(seconds, _LAST_WAIT_SECONDS))
