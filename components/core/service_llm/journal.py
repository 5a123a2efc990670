"""Every answer of a service LLM as it comes, on the disk: a stopped or killed run goes on without asking again."""

import fcntl
import json
import os
from pathlib import Path
from typing import BinaryIO, Generic, Self, TypeVar

from pydantic import BaseModel, ValidationError

from components.core.errors import StorageError

_E = TypeVar("_E", bound=BaseModel)


class Journal(Generic[_E]):
    """A JSON Lines file of entries of one kind, locked against a second run that would write the same."""

    def __init__(self, file: Path, kind: type[_E], *, anew: bool = False) -> None:
        """Open it and read what is there.

        Args:
            file: Made at need.
            kind: Of its entries.
            anew: Begin an empty one.

        Raises:
            StorageError: If it cannot be used, or another run uses it.
        """
        self.entries: list[_E] = []
        self.path = file
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            # users' texts may stand in it, which are nobody else's business on this machine
            self._file: BinaryIO = os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b")
        except OSError as error:
            raise StorageError(f"cannot write {file}: {error.strerror}. Check WHETSTONE_HOME.") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if anew:
                self._file.truncate(0)
            self._read(kind)
        except BlockingIOError as error:
            self._file.close()
            told = f"another run with the same settings is at work ({file} is in use). Wait for it."
            raise StorageError(told) from error
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, entry: _E) -> None:
        """Keep an entry; it is on the disk when this returns.

        Raises:
            StorageError: If the disk is full, say.
        """
        try:
            self._file.write(json.dumps(entry.model_dump(mode="json"), ensure_ascii=False).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise StorageError(f"cannot write {self.path}: {error.strerror}. Make room and run it again.") from error
        self.entries.append(entry)

    def clear(self) -> None:
        """Forget everything."""
        self.entries.clear()
        self._file.seek(0)
        self._file.truncate()

    def _read(self, kind: type[_E]) -> None:
        end = 0
        for number, line in enumerate(self._file, start=1):
            if not line.endswith(b"\n"):
                break  # torn by a kill
            try:
                self.entries.append(kind.model_validate_json(line))
            except ValidationError as error:
                raise StorageError(
                    f"{self.path}, line {number} is broken. Remove the line, or begin anew with resume=false."
                ) from error
            end += len(line)
        self._file.seek(end)
        self._file.truncate()
