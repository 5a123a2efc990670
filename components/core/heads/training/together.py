"""Several processes on one machine, with or without DeepSpeed."""

import logging
from pathlib import Path
from tempfile import TemporaryDirectory

from components.core.catalogue import FinetuneParameters
from components.core.heads.training.job import HeadJob
from components.core.heads.training.result import HeadTrainingResult, read_result
from components.core.settings import Settings
from components.core.training.distributed.deepspeed import deepspeed_variables
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
    engine = deepspeed_variables(parameters.apply_deepspeed, device, settings)
    with TemporaryDirectory(prefix="whetstone-job-") as folder, engine as for_engine:
        job_file = Path(folder) / "job.json"
        job_file.write_text(job.model_dump_json(indent=2) + "\n", encoding="utf-8")
        # torch would say in each process that it looked in vain for weights without a gradient
        variables = settings_as_variables(settings) | {"TORCH_CPP_LOG_LEVEL": "ERROR"} | for_engine
        if device == "cpu":
            variables |= {"CUDA_VISIBLE_DEVICES": ""}
        logger.info("Training in %d %s", processes, "process" if processes == 1 else "processes")
        launch(job_file, processes, variables, on_this_machine(), WORKER)
    return read_result(job.output_dir)
