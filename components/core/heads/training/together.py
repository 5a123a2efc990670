"""Several processes on one machine, with or without DeepSpeed."""

import fcntl
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from components.core.catalogue import FinetuneParameters
from components.core.errors import StorageError, TrainingError
from components.core.heads.training.job import HeadJob
from components.core.heads.training.result import HeadTrainingResult, read_result
from components.core.settings import Settings
from components.core.training.distributed.launch import Worker, launch, on_this_machine, settings_as_variables
from components.core.training.estimate import Device

logger = logging.getLogger(__name__)

WORKER = Worker(
    "components.core.heads.training.worker",
    "Use a machine with more, or lower per_device_train_batch_size",
    "run again with resume_from_checkpoint=true to continue from the last checkpoint",
)


def processes_for(parameters: FinetuneParameters, settings: Settings) -> int:
    """Processes that train on this machine: one for each GPU that is used, or one on a CPU."""
    import torch

    here = torch.cuda.device_count()
    return settings.training_processes or max(1, min(parameters.number_of_gpu_to_use_finetuning, here))


def train_together(
    job: HeadJob, parameters: FinetuneParameters, device: Device, settings: Settings, processes: int
) -> HeadTrainingResult:
    """Train a job in processes that torchrun starts and watches.

    Raises:
        PlatformError: The error of the process that failed first.
        TrainingError: If a process died without one, or DeepSpeed lacks what it needs.
    """
    if parameters.apply_deepspeed:
        check_deepspeed(device)
    with TemporaryDirectory(prefix="whetstone-job-") as folder, _extensions(settings) as extensions:
        job_file = Path(folder) / "job.json"
        job_file.write_text(job.model_dump_json(indent=2) + "\n", encoding="utf-8")
        # torch would say in each process that it looked in vain for weights without a gradient
        variables = settings_as_variables(settings) | {"TORCH_CPP_LOG_LEVEL": "ERROR"}
        if device == "cpu":
            variables |= {"CUDA_VISIBLE_DEVICES": ""}
        if parameters.apply_deepspeed and device == "cpu":
            variables |= {"DS_ACCELERATOR": "cpu", "TORCH_EXTENSIONS_DIR": str(extensions), "PATH": _path()}
        logger.info("Training in %d %s", processes, "process" if processes == 1 else "processes")
        launch(job_file, processes, variables, on_this_machine(), WORKER)
    return read_result(job.output_dir)


def check_deepspeed(device: Device) -> None:
    """Raise unless DeepSpeed can run here.

    Raises:
        TrainingError: If it, or what it compiles its part for CPUs with, is missing.
    """
    if find_spec("deepspeed") is None:
        raise TrainingError(
            "apply_deepspeed=true: the package deepspeed is not installed. Install it, or set apply_deepspeed=false."
        )
    if device != "cpu":
        return
    wanted = {"a C++ compiler (g++)": os.environ.get("CXX", "g++"), "ninja": "ninja"}
    missing = [name for name, program in wanted.items() if shutil.which(program, path=_path()) is None]
    if missing:
        raise TrainingError(
            f"apply_deepspeed=true: on a CPU DeepSpeed compiles a part of itself, and {' and '.join(missing)} cannot "
            "be found. Install it, train on a GPU, or set apply_deepspeed=false."
        )


def _path() -> str:
    """PATH with the programs of this Python's environment, which need not be activated."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


@contextmanager
def _extensions(settings: Settings) -> Iterator[Path]:
    """Where DeepSpeed keeps what it has compiled; a folder of one's own while another training uses the common one."""
    common = settings.cache / "torch-extensions"
    try:
        common.mkdir(parents=True, exist_ok=True)
        lock = (common / "in-use").open("w")
    except OSError as error:
        raise StorageError(f"cannot write {common}: {error.strerror or error}. Set WHETSTONE_HOME.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            with TemporaryDirectory(prefix="whetstone-extensions-") as own:
                yield Path(own)
            return
        for stale in common.rglob("lock"):
            # a build that was killed leaves it, and the next one would wait for it forever
            stale.unlink()
        yield common
