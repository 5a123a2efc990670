"""One process's part in a fine-tuning, from token ids to a model folder; tried again, it goes on from a checkpoint."""

import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.core.errors import TrainingError
from components.core.recipe.deepspeed import deepspeed_configuration
from components.core.registry.base_model import ResolvedModel, resolve_model
from components.core.settings import Settings
from components.core.tasks import read_prompt, write_prompt
from components.core.training.checkpoints import checkpoint_key, find_checkpoint, hash_weights, hold_checkpoints
from components.core.training.distributed.sync import Ranks
from components.core.training.hardware import Hardware, choose_hardware
from components.core.training.job import Job, read_inputs
from components.core.training.model import remove_stale_files, write_json
from components.core.training.result import INFO_FILE, TrainingResult
from components.core.training.run import TrainingRun

logger = logging.getLogger(__name__)

_LIBRARIES = ("torch", "transformers", "peft", "accelerate")


def train(job: Job, settings: Settings, ranks: Ranks) -> TrainingResult:
    """Take this process's part in a job; the first process writes what comes out.

    Raises:
        TrainingError: If there is nothing to train on, the loss diverges, memory runs out, or SIGTERM asked to stop.
        StorageError: If something cannot be read or written.
    """
    began = time.monotonic()
    prompt, inputs = read_prompt(job.tokens_dir), read_inputs(job.tokens_dir)
    if ranks.first:
        remove_stale_files(job.output_dir)
    hardware = choose_hardware(job.training)
    check_alike(hardware, ranks)
    base = _resolve_alike(job, settings, ranks)
    identity = {
        "tokens_fingerprint": inputs.info["fingerprint"],
        "base_weights_sha256": ranks.share(hash_weights(base.path) if ranks.first else ""),
        "training": job.training.model_dump(mode="json", exclude={"save_total_limit"}),
        "lora": job.lora.model_dump(mode="json", exclude={"merge_lora_weights"})
        if job.training.method == "lora"
        else None,
        "precision": hardware.precision,
    }
    deepspeed = deepspeed_configuration(job.training)
    if deepspeed is not None:
        # each process's share of a checkpoint is of use to as many processes only
        identity |= {"deepspeed": deepspeed, "processes": ranks.size}
    run = TrainingRun(
        job.model, job.training, job.lora, inputs.rows, inputs.validation, base, hardware, job.output_dir, ranks
    )
    checkpoints = settings.checkpoints / checkpoint_key(identity)
    with held(checkpoints, ranks) as step:
        result = run.train(checkpoints, step, began)
        if ranks.first:
            write_prompt(prompt, job.output_dir)
            # written last, so its presence means that the fine-tuning is finished
            write_json(job.output_dir / INFO_FILE, _describe(result, job, base, identity, settings))
    if ranks.first:
        shutil.rmtree(checkpoints, ignore_errors=True)
    logger.info(
        "Fine-tuned in %.0f s: %d steps, training loss %.4f, validation loss %s, %.0f tokens/s, peak memory %.2f GB",
        result.seconds, result.steps, result.train_loss,
        "-" if result.validation_loss is None else f"{result.validation_loss:.4f}",
        result.tokens_per_second, result.peak_memory_bytes / 1e9,
    )  # fmt: skip
    return result


def _resolve_alike(job: Job, settings: Settings, ranks: Ranks) -> ResolvedModel:
    """The base model at the revision that the first process found, even if its branch moves meanwhile."""
    base = resolve_model(job.model, settings) if ranks.first else None
    revision = ranks.share(base.revision if base else "")
    return base or resolve_model(job.model.model_copy(update={"revision": revision}), settings)


def check_alike(hardware: Hardware, ranks: Ranks) -> None:
    """Refuse processes that would compute in different ways.

    Raises:
        TrainingError: In all of them.
    """
    mine = f"{hardware.device}, {hardware.precision}, {hardware.attention}"
    first = ranks.share(mine)
    if ranks.any(mine != first):
        raise TrainingError(
            f"the processes of this training do not compute alike: one has {first}, another has something else. "
            "Give all nodes the same GPUs and image (gpu.product), or set training.precision to `32`."
        )


@contextmanager
def held(checkpoints: Path, ranks: Ranks) -> Iterator[int | None]:
    """Let the first process keep others out of the folder; yields the step of the newest complete checkpoint."""
    if not ranks.first:
        step = ranks.share("")
        yield int(step) if step else None
        return
    with hold_checkpoints(checkpoints):
        found = find_checkpoint(checkpoints)
        ranks.share(str(found[1]) if found else "")
        yield found[1] if found else None


def _describe(
    result: TrainingResult, job: Job, base: ResolvedModel, identity: dict[str, Any], settings: Settings
) -> dict[str, Any]:
    """The content of training_info.json."""
    from dataclasses import asdict
    from importlib.metadata import version

    finished = datetime.now(UTC)
    key, extra = checkpoint_key(identity), ["bitsandbytes"] if job.training.quantized_bits else []
    extra += ["deepspeed"] if job.training.apply_deepspeed else []
    return {
        "run_id": f"{finished:%Y%m%d-%H%M%S}-{key[:8]}",
        "finished": finished.isoformat(timespec="seconds"),
        "git_commit": settings.git_commit,
        "base_model_id": job.model.model_id,
        "base_model_revision": base.revision,
        "base_weights_sha256": identity["base_weights_sha256"],
        "tokens_fingerprint": identity["tokens_fingerprint"],
        "training_key": key,
        "method": job.training.method,
        **asdict(result),
        "config": {
            "task": job.task.model_dump(mode="json"),
            "model": job.model.model_dump(mode="json"),
            "training": job.training.model_dump(mode="json"),
            "lora": job.lora.model_dump(mode="json") if job.training.method == "lora" else None,
        },
        "libraries": {name: version(name) for name in (*_LIBRARIES, *extra)},
    }
