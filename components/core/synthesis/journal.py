"""Every answer of the service LLM as it comes, on disk: a killed run goes on without asking for it again."""

import fcntl
import json
import os
from pathlib import Path
from typing import Any, BinaryIO, Self

from pydantic import BaseModel, ValidationError

from components.core.errors import StorageError


class Call(BaseModel):
    """One call and what came of it."""

    call: int
    """Its number, from 0; it decides the seed."""
    examples: list[Any] = []
    """As they came, before any check."""
    problem: str = ""
    """Why there are none."""
    tries: int = 1
    """Answers until one was valid JSON."""
    input_tokens: int = 0
    output_tokens: int = 0
    date: str = ""


class Journal:
    """A JSON Lines file of calls, locked against a second run of the same settings."""

    def __init__(self, file: Path, anew: bool = False) -> None:
        """Open it and read what is there.

        Args:
            file: Made at need.
            anew: Begin an empty one.

        Raises:
            StorageError: If it cannot be used, or another run uses it.
        """
        self.calls: list[Call] = []
        self._path = file
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            # what users' rows were made into is nobody else's business on this machine
            self._file: BinaryIO = os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b")
        except OSError as error:
            raise StorageError(f"cannot write {file}: {error.strerror}. Check WHETSTONE_HOME.") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise StorageError(
                f"another run with the same settings is at work ({file} is in use). Wait for it, or change the seed."
            ) from error
        if anew:
            self._file.truncate(0)
        self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def add(self, call: Call) -> None:
        """Keep a call; it is on the disk when this returns.

        Raises:
            StorageError: If the disk is full, say.
        """
        try:
            self._file.write(json.dumps(call.model_dump()).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise StorageError(f"cannot write {self._path}: {error.strerror}. Make room and run it again.") from error
        self.calls.append(call)

    def _read(self) -> None:
        end = 0
        for number, line in enumerate(self._file, start=1):
            if not line.endswith(b"\n"):
                break  # torn by a kill
            try:
                self.calls.append(Call.model_validate_json(line))
            except ValidationError as error:
                self._file.close()
                raise StorageError(
                    f"{self._path}, line {number} is no call. Remove the line, or ask anew with resume=false."
                ) from error
            end += len(line)
        self._file.truncate(end)
        self._file.seek(end)
