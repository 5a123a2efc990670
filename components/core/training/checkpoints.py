"""Checkpoints that can be trusted: complete or not there, and only ever those of the same training."""

import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.core.errors import StorageError, TrainingError

logger = logging.getLogger(__name__)

MARKER_FILE = "complete.json"
CODE_VERSION = 1
"""Raise it when the same inputs train to other weights than before, so that older checkpoints are not taken."""
_NAME = re.compile(r"checkpoint-(\d+)")


def checkpoint_key(parts: dict[str, Any]) -> str:
    """Name of a training: a hash of everything that decides its result."""
    return hashlib.sha256(json.dumps({"code": CODE_VERSION, **parts}, sort_keys=True).encode()).hexdigest()


def hash_weights(folder: Path) -> str:
    """Hash of the config and the safetensors files of a model folder, names and contents."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("config.json"), *folder.glob("*.safetensors")]):
        digest.update(f"{path.name}\0{_hash_file(path)}\n".encode())
    return digest.hexdigest()


@contextmanager
def hold_checkpoints(folder: Path) -> Iterator[None]:
    """Make the folder of one training and keep other processes out of it.

    Raises:
        TrainingError: If another process is at the same training.
        StorageError: If the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise StorageError(
            f"cannot write checkpoints to {folder.parent}: {error.strerror or error}. "
            "Make it writable, or set CHECKPOINT_DIR to another folder."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingError(
                f"another process is at this same training ({folder}). Wait for it, or stop it and run again."
            ) from error
        except OSError:
            logger.debug("No locks on this file system")
        yield


def find_checkpoint(folder: Path) -> tuple[Path, int] | None:
    """The newest complete checkpoint and its step; everything incomplete is removed."""
    newest = None
    for path, step in _steps(folder):
        problem = _problem(path)
        if problem:
            logger.warning("Checkpoint of step %d is %s; it is removed", step, problem)
            shutil.rmtree(path)
        else:
            newest = (path, step)
    return newest


def seal_checkpoint(checkpoint: Path) -> None:
    """Mark a checkpoint as complete, once all its bytes are on the disk."""
    (checkpoint / MARKER_FILE).unlink(missing_ok=True)
    files = {}
    for path in sorted(path for path in checkpoint.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        files[str(path.relative_to(checkpoint))] = _hash_file(path)
    unfinished = checkpoint / f".{MARKER_FILE}"
    with unfinished.open("w", encoding="utf-8") as file:
        json.dump({"sha256": files}, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(checkpoint / MARKER_FILE)


def keep_newest(folder: Path, limit: int) -> None:
    """Remove all but the newest checkpoints."""
    for path, _ in _steps(folder)[:-limit]:
        shutil.rmtree(path)


def remove_checkpoints(folder: Path) -> bool:
    """Remove all checkpoints of a training; gives back whether there was one."""
    found = _steps(folder)
    for path, _ in found:
        shutil.rmtree(path)
    return bool(found)


def keep_best_and_newest(folder: Path, limit: int, best_step: int | None, newest: bool = True) -> None:
    """Remove checkpoints beyond a limit; the best one stays, and the newest, from which a training goes on.

    Args:
        folder: Of the checkpoints.
        limit: How many are kept; below 1 all are.
        best_step: Step of the best one, None where nothing was measured yet.
        newest: The newest stays even beyond the limit.
    """
    found = _steps(folder)
    if limit < 1 or not found:
        return
    kept = {best_step, *([found[-1][1]] if newest else [])} & {step for _, step in found}
    for _, step in reversed(found):
        if len(kept) < limit:
            kept.add(step)
    for path, step in found:
        if step not in kept:
            shutil.rmtree(path)


def _steps(folder: Path) -> list[tuple[Path, int]]:
    """Checkpoint folders, by step."""
    found = [(path, _NAME.fullmatch(path.name)) for path in folder.iterdir() if path.is_dir()]
    return sorted(((path, int(name[1])) for path, name in found if name), key=lambda item: item[1])


def _problem(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, None for nothing."""
    try:
        files: dict[str, str] = json.loads((checkpoint / MARKER_FILE).read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return "incomplete"
    try:
        damaged = [name for name, digest in files.items() if _hash_file(checkpoint / name) != digest]
    except OSError as error:
        return f"not readable ({error})"
    return f"damaged ({damaged[0]})" if damaged else None


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
