"""Leaves a service that keeps failing alone for a while."""

import time
from collections.abc import Callable
from typing import Literal

State = Literal["closed", "open", "half_open"]


class Breaker:
    """Opens after several failures in a row; after a while one call may try, and its outcome closes or reopens it.

    Args:
        failures: In a row, after which it opens.
        seconds: For which it is open.
        clock: Seconds that only grow.
        longest_seconds: Each try that fails doubles the wait, up to this; none keeps it as it is.
    """

    def __init__(
        self,
        failures: int,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        longest_seconds: float | None = None,
    ) -> None:
        self._threshold, self._seconds, self._clock = failures, seconds, clock
        self._longest = longest_seconds or seconds
        self._failures = 0
        self._wait = seconds
        self._open_until: float | None = None
        self._trying = False

    def state(self) -> State:
        """`half_open`: the wait is over, and one call may try."""
        if self._open_until is None:
            return "closed"
        return "open" if self._trying or self.wait_seconds() else "half_open"

    def wait_seconds(self) -> float:
        """Seconds until a call may be made; 0 when it may be made now."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - self._clock())

    def take_try(self) -> bool:
        """True for one caller while it is half open: the one that tries, and tells the outcome."""
        if self.state() != "half_open":
            return False
        self._trying = True
        return True

    def forget_try(self) -> None:
        """The try ended without an outcome; another one may be made."""
        self._trying = False

    def succeeded(self) -> None:
        """Note a call that worked."""
        self._failures, self._wait, self._open_until, self._trying = 0, self._seconds, None, False

    def failed(self, at_once: bool = False, wait_seconds: float = 0.0) -> bool:
        """Note a call that failed; True if the breaker is open now.

        Args:
            at_once: There is no doubt: it opens whatever came before.
            wait_seconds: What the service asked for; a longer wait than the breaker's own.
        """
        self._failures = max(self._failures + 1, self._threshold if at_once else 0)
        if self._failures < self._threshold:
            return False
        if self._open_until is not None:
            if not self._trying and self.wait_seconds():
                # a call that had begun before it opened says nothing new
                return True
            self._wait = min(2 * self._wait, self._longest)
        self._trying = False
        self._open_until = self._clock() + max(self._wait, wait_seconds)
        return True
