"""Callers that never stop, for what must not fail while something else changes."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Self

import httpx


class Callers:
    """Threads that ask again and again, and the statuses that they got; use as a context manager.

    Args:
        ask: Sends one request.
        number: Of threads.
    """

    def __init__(self, ask: Callable[[httpx.Client], httpx.Response], number: int) -> None:
        self._ask, self._stop = ask, threading.Event()
        self.statuses: Counter[int] = Counter()
        self._threads = [threading.Thread(target=self._call) for _ in range(number)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        with httpx.Client() as client:
            while not self._stop.is_set():
                self.statuses[self._ask(client).status_code] += 1
