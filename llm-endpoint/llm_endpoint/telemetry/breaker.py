"""Leaves a service that keeps failing alone for a while."""

import time
from collections.abc import Callable


class Breaker:
    """Opens after several failures in a row; after a while one call may try, and its outcome closes or reopens it."""

    def __init__(self, failures: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Open after `failures` failures, for `seconds`."""
        self._threshold, self._seconds, self._clock = failures, seconds, clock
        self._failures = 0
        self._open_until = 0.0

    def wait_seconds(self) -> float:
        """Seconds until a call may be made; 0 when it may be made now."""
        return max(0.0, self._open_until - self._clock())

    def succeeded(self) -> None:
        """Note a call that worked."""
        self._failures, self._open_until = 0, 0.0

    def failed(self) -> bool:
        """Note a call that failed; True if the breaker is open now."""
        self._failures += 1
        if self._failures < self._threshold:
            return False
        self._open_until = self._clock() + self._seconds
        return True
