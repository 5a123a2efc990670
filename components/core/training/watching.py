"""What is seen of a training while it runs, and how it is stopped in good order."""

import json
import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from transformers import TrainerCallback

from components.core.errors import StorageError
from components.core.training.distributed.sync import Ranks

logger = logging.getLogger(__name__)

LOG_FILE = "training_log.jsonl"
SECONDS_BETWEEN_LINES = 5.0


class StopRequest:
    """Set when the process is asked to end (SIGTERM)."""

    def __init__(self) -> None:
        self.made = False

    @contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Take note of SIGTERM instead of dying of it, as long as the block runs."""
        if threading.current_thread() is not threading.main_thread():
            # only the main thread may set signal handlers; elsewhere SIGTERM keeps its meaning
            yield self
            return
        before = signal.signal(signal.SIGTERM, self._note)
        try:
            yield self
        finally:
            signal.signal(signal.SIGTERM, before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.made = True


class Watcher(TrainerCallback):  # type: ignore[misc]
    """Writes the curves to a file, a line of progress every few seconds, and passes on a request to stop."""

    def __init__(self, log_path: Path, stop: StopRequest, ranks: Ranks) -> None:
        self._path, self._stop, self._ranks = log_path, stop, ranks
        self._last_line = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin the file anew with what an earlier try has already logged."""
        self._last_line = time.monotonic()
        if not self._ranks.first:
            return
        try:
            self._path.write_text("".join(json.dumps(point) + "\n" for point in state.log_history), encoding="utf-8")
        except OSError as error:
            raise _cannot_write(self._path, error) from error

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Decide what happens after this step."""
        if self._ranks.any(self._stop.made):
            self._stop.made = True
            control.should_training_stop = control.should_save = True
            control.should_evaluate = False
        if control.should_save or state.global_step >= state.max_steps:
            # a checkpoint does not hold the sum of losses that are not logged yet
            control.should_log = True

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Add the newest point to the file."""
        if not self._ranks.first:
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(state.log_history[-1]) + "\n")
        except OSError as error:
            raise _cannot_write(self._path, error) from error

    def line_is_due(self) -> bool:
        """True once every few seconds."""
        due = time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES
        if due:
            self._last_line = time.monotonic()
        return due


def _cannot_write(path: Path, error: OSError) -> StorageError:
    return StorageError(f"cannot write {path}: {error.strerror or error}. Free some space or choose another folder.")
