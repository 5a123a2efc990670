"""A call made by a thread of its own, so that the page can be stopped while the endpoint is silent."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Waiting(Generic[Result]):
    """Starts `call` at once; a call that nobody waits for any more ends by itself, unheard."""

    def __init__(self, call: Callable[[], Result]) -> None:
        self._call = call
        self._done = threading.Event()
        self._result: list[Result] = []
        self._error: Exception | None = None
        # A daemon, so that a silent endpoint cannot hold up the end of the process.
        threading.Thread(target=self._run, name="waiting", daemon=True).start()

    def done(self, seconds: float) -> bool:
        """Wait up to `seconds`; say whether the call has ended."""
        return self._done.wait(seconds)

    def result(self) -> Result:
        """What the call gave, or raise what it raised. Only once it has ended."""
        if self._error is not None:
            raise self._error
        return self._result[0]

    def _run(self) -> None:
        try:
            self._result.append(self._call())
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
            self._error = error
        finally:
            self._done.set()
