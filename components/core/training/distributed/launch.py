"""Several processes on one machine, started and watched by torchrun.

`python -m components.core.training.distributed.launch JOB_FILE` is what each pod of a TrainJob runs: there the other
nodes are named by torchrun's own PET_* variables.
"""

import logging
import os
import signal
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import SecretStr

from components.core.errors import PlatformError, TrainingError, user_errors
from components.core.progress import log_to_stdout
from components.core.settings import Settings, load_settings
from components.core.training.distributed.deepspeed import deepspeed_variables
from components.core.training.distributed.nodes import TOKEN_FILE
from components.core.training.distributed.worker import EXIT_LOST_A_PEER, leave_error, left_error
from components.core.training.hardware import choose_hardware, processes_here
from components.core.training.job import Job, write_job
from components.core.training.result import TrainingResult, read_result

logger = logging.getLogger(__name__)

_ROOT = Path(__file__).resolve().parents[4]
_WORKER = "components.core.training.distributed.worker"
_LESS_MEMORY = "Raise resources.memory or lower training.tokens_per_batch"
_AGAIN = "run again to continue from the last checkpoint"
SECONDS_TO_SAVE = 120
"""How long processes that are asked to end may take for their last checkpoint."""


@dataclass(frozen=True)
class Worker:
    """What each process runs, and what a user is told when one dies without a word."""

    module: str
    less_memory: str
    """What to change when memory ran out."""
    again: str
    """How a run goes on from the last checkpoint."""


def train_here(job: Job, settings: Settings, processes: int) -> TrainingResult:
    """Train a job with so many processes on this machine.

    Raises:
        PlatformError: The error of the process that failed first.
        TrainingError: If a process died without one, for example because memory ran out, or DeepSpeed cannot run here.
    """
    engine = deepspeed_variables(job.training.apply_deepspeed, choose_hardware(job.training).device, settings)
    with TemporaryDirectory(prefix="whetstone-job-") as folder, engine as for_engine:
        job_file = Path(folder) / "job.json"
        write_job(job, job_file)
        logger.info("Training in %d %s", processes, "process" if processes == 1 else "processes")
        launch(job_file, processes, settings_as_variables(settings) | for_engine, on_this_machine())
    return read_result(job.output_dir)


def launch(
    job_file: Path, processes: int, environment: Mapping[str, str], where: list[str], worker: Worker | None = None
) -> None:
    """Run the workers of this machine until all have ended.

    Args:
        job_file: Read by the workers.
        processes: How many.
        environment: Added to this process's own for them.
        where: Options of torchrun that say where the other machines are.
        worker: None is that of a model that generates text.

    Raises:
        PlatformError: The error of the worker that failed first.
    """
    worker = worker or Worker(_WORKER, _LESS_MEMORY, _AGAIN)
    with _quiet(), _restored(environment, processes), TemporaryDirectory(prefix="whetstone-torchrun-") as log_dir:
        # torchrun's own reading of options and PET_* variables, without its table of tracebacks
        from torch.distributed.elastic.multiprocessing.api import SignalException
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
        from torch.distributed.launcher.api import elastic_launch
        from torch.distributed.run import config_from_args, parse_args

        options = [*where, "--nproc-per-node", str(processes), "--log-dir", log_dir, "-m", worker.module, str(job_file)]
        config, command, arguments = config_from_args(parse_args(options))  # type: ignore[no-untyped-call]
        config.shutdown_timeout = SECONDS_TO_SAVE
        try:
            elastic_launch(config=config, entrypoint=command)(*arguments)
        except SignalException as error:
            raise left_error(job_file.parent) or TrainingError(
                "stopped by SIGTERM before the first step; run again to start."
            ) from error
        except ChildFailedError as error:
            raise left_error(job_file.parent) or _died(error.failures, job_file.parent, worker) from error


def on_this_machine() -> list[str]:
    """Let the workers meet at a free port of the loopback interface."""
    meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "--rdzv-id", uuid.uuid4().hex]
    return [*meeting, "--local-addr", "127.0.0.1"]


def _died(failures: Mapping[int, Any], folder: Path, worker: Worker) -> PlatformError:
    """What is known of workers that ended without a word; left for the step that watches all nodes, too."""
    again = f"{worker.again}."
    own = {rank: failure for rank, failure in failures.items() if failure.exitcode != EXIT_LOST_A_PEER}
    if not own:
        return TrainingError(f"a training process on another node ended, and with it all others; {again}")
    rank, failure = min(own.items(), key=lambda item: item[1].timestamp)
    if failure.exitcode == -signal.SIGKILL:
        error = TrainingError(
            f"the training process of rank {rank} was killed, most often because the machine's memory ran out. "
            f"{worker.less_memory}, and {again}"
        )
    else:
        how = f"signal {-failure.exitcode}" if failure.exitcode < 0 else f"exit code {failure.exitcode}"
        error = TrainingError(f"the training process of rank {rank} ended with {how}; see its log, and {again}")
    leave_error(folder, f"{rank:04d}", error)
    return error


def settings_as_variables(settings: Settings) -> dict[str, str]:
    """The settings that workers need as variables: the token is never written to a file."""
    needed = {"hf_token", "hf_endpoint", "whetstone_home", "checkpoint_dir", "git_commit"}
    values = settings.model_dump(exclude_none=True, exclude_unset=True, include=needed)
    return {
        name.upper(): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in values.items()
    }


@contextmanager
def _restored(environment: Mapping[str, str], processes: int) -> Iterator[None]:
    """Workers inherit this process's variables; these and torchrun's signal handlers are taken back at the end."""
    before = dict(os.environ)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    os.environ.update(environment)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_ROOT), before.get("PYTHONPATH")]))
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // processes)))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torchrun's own log: what matters in it is raised."""
    names = ("torch.distributed.elastic", "torch.distributed.run", "torch.distributed.launcher")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def main(job_file: Path) -> None:
    """The part of one node of a TrainJob."""
    log_to_stdout()
    with user_errors():
        if TOKEN_FILE.is_file():
            os.environ["HF_TOKEN"] = TOKEN_FILE.read_text(encoding="utf-8").strip()
        launch(job_file, load_settings().training_processes or processes_here(), {}, [])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
