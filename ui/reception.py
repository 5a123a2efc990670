"""An answer received by a thread of its own, so that the page can be stopped while the endpoint is silent."""

import queue
import threading
from collections.abc import Generator
from contextlib import closing

from ui.contract import Answer
from ui.problems import Problem

Piece = str | Answer | Exception | None
"""Text, the complete answer, what went wrong, or the end."""


class Reception:
    """Collects what `EndpointClient.generate` yields.

    After `close` the thread hangs up at the next piece, or when the endpoint has been silent for too long.
    """

    def __init__(self, pieces: Generator[str | Answer]) -> None:
        self._pieces = pieces
        self._arrived: queue.SimpleQueue[Piece] = queue.SimpleQueue()
        self._closed = threading.Event()
        self.done = False
        self.answer: Answer | None = None
        self.problem: Problem | None = None
        # A daemon, so that a silent endpoint cannot hold up the end of the process.
        threading.Thread(target=self._receive, name="reception", daemon=True).start()

    def wait(self, seconds: float) -> str:
        """Give the text that has arrived since the last call, waiting up to `seconds` if there is none yet."""
        text = ""
        try:
            piece = self._arrived.get(timeout=seconds)
            while True:
                text += self._taken(piece)
                piece = self._arrived.get_nowait()
        except queue.Empty:
            return text

    def close(self) -> None:
        """Stop receiving; harmless when the answer is complete."""
        self._closed.set()

    def _taken(self, piece: Piece) -> str:
        if isinstance(piece, str):
            return piece
        if isinstance(piece, Answer):
            self.answer = piece
        elif isinstance(piece, Problem):
            self.problem = piece
        elif piece is not None:
            raise piece
        else:
            self.done = True
        return ""

    def _receive(self) -> None:
        try:
            with closing(self._pieces) as pieces:
                for piece in pieces:
                    if self._closed.is_set():
                        return
                    self._arrived.put(piece)
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
            self._arrived.put(error)
        finally:
            self._arrived.put(None)
