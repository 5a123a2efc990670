"""Answers as they come, on disk: a run that was killed goes on from them."""

import fcntl
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from components.core.errors import ConfigError, StorageError

logger = logging.getLogger(__name__)

_ANSWERS, _WRITING = "answers.jsonl", "writing.json"


class Journal:
    """The answers of one piece of work, which its folder's name identifies.

    Each is a line of its own, written at once, so that a kill loses no whole line; half a line at the end is dropped.

    Raises:
        ConfigError: If another process works on the same.
        StorageError: If the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.known: dict[tuple[int, int], str] = {}
        """Text by row and repeat."""

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # append mode creates it; reading goes on after the lock
            self._file = (self.folder / _ANSWERS).open("a+b")
        except OSError as error:
            raise StorageError(
                f"cannot write {self.folder}: {error.strerror or error}. Set WHETSTONE_HOME to another folder."
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise ConfigError("another run is answering the same rows with the same model. Wait for it.") from error
        self._read()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def note(self, row: int, repeat: int, text: str) -> None:
        """Keep an answer."""
        line = json.dumps({"row": row, "repeat": repeat, "text": text}, ensure_ascii=False)
        try:
            self._file.write(f"{line}\n".encode())
            self._file.flush()
        except OSError as error:
            raise StorageError(
                f"cannot write {self.folder}: {error.strerror or error}. Free some space and run again: it goes on."
            ) from error
        self.known[row, repeat] = text

    def begin_writing(self, target: str, rows_before: int) -> int:
        """Note how many rows a target held before the answers went there, and give what was noted first."""
        path = self.folder / _WRITING
        noted = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if target not in noted:
            noted[target] = rows_before
            partial = path.with_name(f".{_WRITING}.partial")
            partial.write_text(json.dumps(noted), encoding="utf-8")
            partial.replace(path)
        return int(noted[target])

    def remove(self) -> None:
        """Forget all of it: the answers are where they belong."""
        for name in (_ANSWERS, _WRITING):
            (self.folder / name).unlink(missing_ok=True)
        self.folder.rmdir()

    def _read(self) -> None:
        self._file.seek(0)
        whole = 0
        for line in self._file:
            found = _parse(line)
            if found is None:
                break
            whole += len(line)
            self.known[int(found["row"]), int(found["repeat"])] = str(found["text"])
        self._file.truncate(whole)
        self._file.seek(whole)


def _parse(line: bytes) -> Mapping[str, Any] | None:
    """One answer; None for a line that was cut."""
    if not line.endswith(b"\n"):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and {"row", "repeat", "text"} <= set(found) else None
