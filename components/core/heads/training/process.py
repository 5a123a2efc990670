"""One process's part in a fine-tuning of a head, from tokens to a model folder."""

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from components.core.catalogue import FinetuneParameters
from components.core.catalogue.training_arguments import resolve_precision
from components.core.heads.training.job import HeadInputs, HeadJob, catalogue_task, read_inputs
from components.core.heads.training.output import keep_checkpoints, prepare_folder
from components.core.heads.training.result import HeadTrainingResult
from components.core.heads.training.run import HeadRun
from components.core.recipe.deepspeed import deepspeed_configuration
from components.core.settings import Settings
from components.core.training.checkpoints import (
    checkpoint_key,
    hash_weights,
    hold_checkpoints,
    keep_best_and_newest,
    remove_checkpoints,
)
from components.core.training.distributed.sync import Ranks
from components.core.training.hardware import Hardware
from components.core.training.model import write_json
from components.core.training.process import check_alike, held
from components.core.training.result import INFO_FILE

logger = logging.getLogger(__name__)

_LIBRARIES = ("torch", "transformers", "peft", "accelerate")
_OF_NO_WEIGHT = {
    "save_total_limit", "merge_lora_weights", "resume_from_checkpoint", "apply_ort", "ort_quantization",
    "registered_model_name", "num_nodes_finetune", "number_of_gpu_to_use_finetuning", "shm_size_finetune",
    "dataloader_num_workers", "eval_accumulation_steps", "per_device_eval_batch_size", "deepspeed",
    "logging_strategy", "logging_steps",
}  # fmt: skip
"""Parameters that change nothing of what is learned, so that a checkpoint serves whatever they are."""


def train(job: HeadJob, settings: Settings, ranks: Ranks) -> HeadTrainingResult:
    """Take this process's part in a job; the first process writes what comes out.

    Raises:
        TrainingError: If the loss diverges, memory runs out, or SIGTERM asked to stop.
        StorageError: If something cannot be read or written.
    """
    began = time.monotonic()
    parameters, inputs = job.parameters, read_inputs(job.task, job.preprocess_dir)
    if ranks.first:
        prepare_folder(job.output_dir)
    hardware = resolve_precision(
        parameters.precision, parameters.number_of_gpu_to_use_finetuning, parameters.apply_deepspeed
    )
    check_alike(hardware, ranks)
    key = training_key(inputs, parameters, hardware, ranks.size)
    run = HeadRun(inputs, parameters, hardware, job.output_dir, ranks)
    checkpoints = settings.checkpoints / key
    with _checkpoint_to_go_on_from(checkpoints, parameters.resume_from_checkpoint, ranks) as step:
        result = run.train(checkpoints, step, began, settings)
        if ranks.first:
            keep_best_and_newest(checkpoints, parameters.save_total_limit, result.best_step, newest=False)
            keep_checkpoints(checkpoints, job.output_dir)
            # written last, so its presence means that the fine-tuning is finished
            write_json(job.output_dir / INFO_FILE, _describe(result, job, inputs, key, settings))
    if ranks.first:
        shutil.rmtree(checkpoints, ignore_errors=True)
    logger.info(
        "Fine-tuned in %.0f s: %d steps, training loss %.4f, validation loss %s, %.0f tokens/s, peak memory %.2f GB",
        result.seconds, result.steps, result.train_loss,
        "-" if result.validation_loss is None else f"{result.validation_loss:.4f}",
        result.tokens_per_second, result.peak_memory_bytes / 1e9,
    )  # fmt: skip
    return result


def training_key(inputs: HeadInputs, parameters: FinetuneParameters, hardware: Hardware, processes: int) -> str:
    """Name of a training: the same for each try of it."""
    return checkpoint_key(
        {
            "preprocessing": inputs.arguments["fingerprint"],
            "parameters": parameters.model_dump(mode="json", exclude=_OF_NO_WEIGHT),
            "deepspeed": deepspeed_configuration(parameters),
            "hardware": f"{hardware.device} {hardware.precision}",
            "processes": processes,
        }
    )


@contextmanager
def _checkpoint_to_go_on_from(checkpoints: Path, resume: bool, ranks: Ranks) -> Iterator[int | None]:
    """Keep other trainings out of the folder; yields the step of the newest complete checkpoint, if it is asked for."""
    if ranks.first and not resume:
        with hold_checkpoints(checkpoints):
            if remove_checkpoints(checkpoints):
                logger.info(
                    "Starting anew; the checkpoints of an earlier try are removed (resume_from_checkpoint=false)"
                )
    with held(checkpoints, ranks) as step:
        if resume and step is None:
            logger.info("There is no complete checkpoint of this training in %s; starting anew", checkpoints)
        yield step


def _describe(
    result: HeadTrainingResult, job: HeadJob, inputs: HeadInputs, key: str, settings: Settings
) -> dict[str, Any]:
    """The content of training_info.json."""
    finished = datetime.now(UTC)
    model = inputs.arguments.get("model") or {}
    libraries = [*_LIBRARIES, *(["deepspeed"] if "deepspeed" in result.distributed else [])]
    return {
        "run_id": f"{finished:%Y%m%d-%H%M%S}-{key[:8]}",
        "finished": finished.isoformat(timespec="seconds"),
        "git_commit": settings.git_commit,
        "task": job.task,
        "catalogue_task": catalogue_task(job.task),
        "base_model_id": model.get("id"),
        "base_model_revision": model.get("revision"),
        "base_weights_sha256": model.get("weights_sha256"),
        "tokens_fingerprint": inputs.arguments["fingerprint"],
        "weights_sha256": hash_weights(job.output_dir),
        "training_key": key,
        **asdict(result),
        "metric_for_best_model": job.parameters.metric_for_best_model,
        "libraries": {name: version(name) for name in libraries},
    }
