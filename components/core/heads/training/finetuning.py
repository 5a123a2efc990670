"""One fine-tuning of a head, from a preprocess folder to a model folder, by as many processes as there are GPUs."""

import logging
from pathlib import Path

from components.core.catalogue import FinetuneParameters, check_parameters
from components.core.catalogue.training_arguments import resolve_precision
from components.core.heads.training.job import HeadJob, read_inputs
from components.core.heads.training.process import train
from components.core.heads.training.result import HeadTrainingResult
from components.core.heads.training.together import processes_for, train_together
from components.core.settings import Settings
from components.core.training.distributed.sync import Ranks

logger = logging.getLogger(__name__)


def finetune_head(
    task: str, parameters: FinetuneParameters, preprocess_dir: Path, output_dir: Path, settings: Settings
) -> HeadTrainingResult:
    """Fine-tune a model with a head on a preprocess folder and write the model folder.

    Args:
        task: Core name: single_label, multi_label, regression or ner.
        parameters: Of that task; they are checked against this machine.
        preprocess_dir: As the preprocessing left it.
        output_dir: Gets the model folder; training_info.json comes last.
        settings: Where checkpoints are kept, and how many processes train.

    Raises:
        ConfigError: If parameters cannot be combined, or the folder is of another task.
        TrainingError: If there is nothing to train on, the loss diverges, memory runs out, a process dies, or SIGTERM
            asked to stop.
        StorageError: If something cannot be read or written.
    """
    import torch

    check_parameters(parameters, torch.cuda.is_available())
    job = HeadJob(
        task=task, values=parameters.model_dump(mode="json"), preprocess_dir=preprocess_dir.resolve(),
        output_dir=output_dir.resolve(),
    )  # fmt: skip
    processes = processes_for(parameters, settings)
    if processes == 1 and not parameters.apply_deepspeed:
        return train(job, settings, Ranks())
    # what is wrong with the input is told before any process is started
    read_inputs(task, preprocess_dir)
    hardware = resolve_precision(
        parameters.precision, parameters.number_of_gpu_to_use_finetuning, parameters.apply_deepspeed
    )
    return train_together(job, parameters, hardware.device, settings, processes)
