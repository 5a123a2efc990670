"""One of several processes of a training, as torchrun starts it: python -m <this module> JOB_FILE."""

import ctypes
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from components.core.errors import ConfigError, PlatformError, StorageError, TrainingError
from components.core.progress import log_to_stdout
from components.core.settings import load_settings
from components.core.training.distributed.sync import Ranks, joined
from components.core.training.job import read_job
from components.core.training.process import train

_LOST_A_PEER = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL", "Timed out waiting")
"""What PyTorch says in the processes that are left when one of them ends."""

EXIT_LOST_A_PEER = 75
_PR_SET_PDEATHSIG = 1


def main(job_file: Path) -> None:
    """Take part in the fine-tuning of a model that generates text."""
    take_part(job_file, lambda ranks: train(read_job(job_file), load_settings(), ranks))


def take_part(job_file: Path, part: Callable[[Ranks], object]) -> None:
    """Do one process's part; an error is left as a file beside the job, for the process that started all of them."""
    log_to_stdout()
    _end_with_the_launcher()
    with _errors_beside(job_file), joined() as ranks:
        if not ranks.first:
            # what concerns all of them is said once
            logging.getLogger("components").setLevel(logging.WARNING)
        part(ranks)


def leave_error(folder: Path, who: str, error: PlatformError) -> None:
    """Leave an error beside the job file, whole or not at all."""
    path = folder / f"error-{who}.json"
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps({"kind": type(error).__name__, "message": str(error)}), encoding="utf-8")
    unfinished.replace(path)


def left_error(folder: Path) -> PlatformError | None:
    """The error that a worker left beside the job file; None where none was left."""
    for path in sorted(folder.glob("error-*.json")):
        error = json.loads(path.read_text(encoding="utf-8"))
        kinds: dict[str, type[PlatformError]] = {kind.__name__: kind for kind in (ConfigError, StorageError)}
        return kinds.get(error["kind"], TrainingError)(error["message"])
    return None


def _end_with_the_launcher() -> None:
    """Stop with a checkpoint on Ctrl-C, which reaches all processes, and when torchrun itself is killed."""
    signal.signal(signal.SIGINT, lambda number, frame: signal.raise_signal(signal.SIGTERM))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def _errors_beside(job_file: Path) -> Iterator[None]:
    try:
        yield
    except PlatformError as error:
        leave_error(job_file.parent, f"{int(os.environ['RANK']):04d}", error)
        sys.exit(1)
    except RuntimeError as error:
        if not any(words in str(error) for words in _LOST_A_PEER):
            raise
        # another process ended first, and its reason is the one to tell
        sys.exit(EXIT_LOST_A_PEER)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
