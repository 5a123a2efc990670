"""A rate that calls reach and never exceed, in any window of a minute."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

WINDOW_SECONDS = 60.0
MARGIN = 0.01
"""Share of the rate that is left free, so that calls that travel faster than earlier ones do not meet in one window."""
_CATCH_UP = 4
"""Calls that a late start may bring forward; more would be a burst, which services refuse."""


class RateLimiter:
    """Spaces calls evenly; a call that started late is made up for, but no window ever holds more than the rate.

    Args:
        per_minute: Calls in any 60 s.
        clock: Seconds, rising.
        sleep: Waits that many seconds by the same clock.
    """

    def __init__(
        self,
        per_minute: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.per_minute = per_minute
        self._window = WINDOW_SECONDS * (1 + MARGIN)
        self._interval = self._window / per_minute
        self._clock, self._sleep = clock, sleep
        self._starts: deque[float] = deque(maxlen=per_minute)
        self._slot = -float("inf")
        self._paused_until = -float("inf")
        self._lock: asyncio.Lock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def wait(self) -> None:
        """Return when the next call may start; callers are served in the order in which they came."""
        # whoever waits for the next start holds the turn: callers that come back fast would overtake him for ever
        async with self._turn():
            while (delay := self._next() - self._clock()) > 0:
                # looked at again afterwards: a pause may have begun meanwhile
                await self._sleep(delay)
            now = self._clock()
            self._slot = max(self._slot, now - _CATCH_UP * self._interval) + self._interval
            self._starts.append(now)

    def pause(self, seconds: float) -> None:
        """Let no call start for so long; what a service asks for with Retry-After."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)

    def _turn(self) -> asyncio.Lock:
        loop = asyncio.get_running_loop()
        if self._lock is None or self._loop is not loop:
            self._lock, self._loop = asyncio.Lock(), loop
        return self._lock

    def _next(self) -> float:
        full = len(self._starts) == self.per_minute
        oldest = self._starts[0] + self._window if full else -float("inf")
        return max(self._slot, oldest, self._paused_until)
