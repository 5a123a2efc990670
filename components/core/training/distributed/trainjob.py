"""Several nodes: a Kubeflow TrainJob that is started, watched and always removed by the fine-tuning step."""

import logging
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from components.core.errors import ERROR_PREFIX, StorageError, TrainingError
from components.core.settings import Settings, TrainingNodes
from components.core.training.checkpoints import checkpoint_key, hold_checkpoints
from components.core.training.distributed.cluster import check_volume, connect, explain, http_status, remove, told
from components.core.training.distributed.nodes import build_container, build_patch
from components.core.training.distributed.worker import left_error
from components.core.training.job import Job, read_inputs, write_job
from components.core.training.model import remove_stale_files
from components.core.training.result import TrainingResult, read_result

if TYPE_CHECKING:
    from kubeflow.trainer import TrainerClient
    from kubeflow.trainer.types.types import TrainJob

logger = logging.getLogger(__name__)

_COMMAND = ["python", "-m", "components.core.training.distributed.launch"]
_POLL_SECONDS = 2.0
_SECONDS_BETWEEN_REASONS = 60.0
_FAILED_POLLS = 30
"""Answers in a row that the API server may fail to give."""
_LAST_LINES = 8


def train_on_nodes(job: Job, settings: Settings, nodes: TrainingNodes) -> TrainingResult:
    """Train a job on several nodes, through the volume of checkpoints.

    Raises:
        ConfigError: If the cluster cannot do it: no Trainer, no rights, no shared volume.
        TrainingError: If the training failed, or SIGTERM asked to stop.
        StorageError: If something cannot be read or written.
    """
    name = f"whetstone-{_key(job)[:12]}"
    folder = settings.checkpoints / "jobs" / name
    client = connect()
    check_volume(client, nodes)
    with hold_checkpoints(folder), _sigterm_raises() as signals:
        staged = _stage(job, folder)
        try:
            with told(f"start the TrainJob {name}", client, nodes):
                if remove(client, name, wait=True):
                    logger.info("The TrainJob %s of an earlier try was replaced", name)
                _create(client, name, nodes, settings, folder / "job.json")
            _watch(client, name, nodes, folder)
        finally:
            signals.quiet = True
            _clean_up(client, name)
        remove_stale_files(job.output_dir)
        _copy(staged.output_dir, job.output_dir)
    shutil.rmtree(folder, ignore_errors=True)
    return read_result(job.output_dir)


def _key(job: Job) -> str:
    """The same for each try of one training, so that a try finds what the one before left."""
    sections = job.model_dump(mode="json", exclude={"tokens_dir", "output_dir"})
    return checkpoint_key({**sections, "tokens_fingerprint": read_inputs(job.tokens_dir).info["fingerprint"]})


def _stage(job: Job, folder: Path) -> Job:
    """Put the tokens and the job onto the volume that all nodes mount."""
    staged = job.model_copy(update={"tokens_dir": folder / "tokens", "output_dir": folder / "model"})
    for path in folder.glob("error-*.json"):
        path.unlink()
    _copy(job.tokens_dir, staged.tokens_dir)
    write_job(staged, folder / "job.json")
    return staged


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copytree(source, target, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        reason = " ".join(str(error).split())[:200]
        raise StorageError(f"cannot copy {source} to {target}: {reason}. Free some space and run again.") from error


def _create(client: "TrainerClient", name: str, nodes: TrainingNodes, settings: Settings, job_file: Path) -> None:
    from kubeflow.trainer.options import Labels, Name, TrainerCommand

    environment = {"CHECKPOINT_DIR": str(settings.checkpoints), "GIT_COMMIT": settings.git_commit}
    client.train(
        runtime=nodes.gpu.training_runtime,
        trainer=build_container(nodes, environment),
        options=[
            Name(name),
            Labels({"app.kubernetes.io/part-of": "whetstone"}),
            TrainerCommand([*_COMMAND, str(job_file)]),
            build_patch(nodes, settings.checkpoints),
        ],
    )
    logger.info("TrainJob %s: %d nodes with %d GPUs each", name, nodes.gpu.num_nodes, nodes.gpu.count)


def _watch(client: "TrainerClient", name: str, nodes: TrainingNodes, folder: Path) -> None:
    """Pass on the first node's log until the TrainJob has ended; raise if it failed."""
    log, failed_polls, reason_due = _Log(client, name), 0, time.monotonic() + _SECONDS_BETWEEN_REASONS
    while True:
        try:
            job = client.get_job(name)
            failed_polls = 0
        except (RuntimeError, TimeoutError) as error:
            failed_polls += 1
            if http_status(error) == 404:
                raise TrainingError(f"the TrainJob {name} was deleted. Run again to continue.") from error
            if failed_polls >= _FAILED_POLLS:
                raise explain(f"watch the TrainJob {name}", error, client, nodes) from error
            time.sleep(_POLL_SECONDS)
            continue
        ended = job.status in ("Complete", "Failed")
        log.pass_on(job, follow=not ended)
        if job.status == "Failed":
            raise left_error(folder) or TrainingError(f"the TrainJob {name} failed: {log.last_words()}")
        if ended:
            return
        if not log.begun and time.monotonic() > reason_due:
            _say_why_it_waits(client, job)
            reason_due = time.monotonic() + _SECONDS_BETWEEN_REASONS
        time.sleep(_POLL_SECONDS)


class _Log:
    """The log of node 0, each line once, however often the connection breaks."""

    def __init__(self, client: "TrainerClient", name: str) -> None:
        self._client, self._name = client, name
        self._pod, self._seen = "", 0
        self._tail: deque[str] = deque(maxlen=_LAST_LINES)

    @property
    def begun(self) -> bool:
        """Whether node 0 has run."""
        return bool(self._pod)

    def pass_on(self, job: "TrainJob", follow: bool) -> None:
        """Print what is new; to the log's end if it is followed."""
        node = next((step for step in job.steps if step.name == "node-0"), None)
        if node is None or node.status in (None, "Pending") or (follow and node.status != "Running"):
            return
        if node.pod_name != self._pod:
            self._pod, self._seen = node.pod_name, 0
        try:
            for number, line in enumerate(self._client.get_job_logs(self._name, follow=follow), 1):
                if number > self._seen:
                    print(line, flush=True)
                    self._tail.append(line.strip())
                    self._seen = number
        except (RuntimeError, TimeoutError):
            logger.debug("The log of %s broke off", self._pod, exc_info=True)

    def last_words(self) -> str:
        """The error that node 0 printed, or its last lines."""
        errors = [line.removeprefix(ERROR_PREFIX) for line in self._tail if line.startswith(ERROR_PREFIX)]
        return errors[-1] if errors else "\n".join(self._tail) or "its pods left no log"


def _say_why_it_waits(client: "TrainerClient", job: "TrainJob") -> None:
    try:
        events = client.get_job_events(job.name)
    except (RuntimeError, TimeoutError):
        events = []
    why = f": {events[-1].reason}, {' '.join(events[-1].message.split())}" if events else ""
    logger.info("The pods of the TrainJob %s do not run yet%s", job.name, why)


def _clean_up(client: "TrainerClient", name: str) -> None:
    try:
        remove(client, name)
    except (RuntimeError, TimeoutError):
        logger.warning("Cannot delete the TrainJob %s; `kubectl delete trainjob %s` does it", name, name)


class _Interrupted(BaseException):
    """SIGTERM came; no Exception, since the SDK would take it for a failure of its own."""


class _Signals:
    """Whether SIGTERM still interrupts."""

    quiet = False


@contextmanager
def _sigterm_raises() -> Iterator[_Signals]:
    """Let SIGTERM (a cancelled run, an evicted pod) interrupt whatever the block waits for, until it is made quiet."""
    state = _Signals()
    if threading.current_thread() is not threading.main_thread():
        yield state
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not state.quiet:
            raise _Interrupted

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield state
    except _Interrupted as stopped:
        raise TrainingError(
            "stopped by SIGTERM: the TrainJob was deleted, and its nodes save a checkpoint; run again to continue."
        ) from stopped
    finally:
        signal.signal(signal.SIGTERM, before)
