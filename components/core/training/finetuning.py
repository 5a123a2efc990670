"""One fine-tuning, from token ids to a model folder; tried again, it goes on from its last checkpoint."""

import json
import logging
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.core.errors import StorageError, TrainingError
from components.core.recipe import LoraConfig, ModelConfig, TaskConfig, TrainingConfig
from components.core.registry.base_model import ResolvedModel, resolve_model
from components.core.settings import Settings
from components.core.tasks import read_prompt, write_prompt
from components.core.training.checkpoints import checkpoint_key, hash_weights, hold_checkpoints
from components.core.training.hardware import choose_hardware
from components.core.training.model import remove_stale_files, write_json
from components.core.training.result import TrainingResult
from components.core.training.rows import read_rows
from components.core.training.run import TrainingRun

logger = logging.getLogger(__name__)

INFO_FILE = "training_info.json"


def finetune(
    task: TaskConfig,
    model: ModelConfig,
    training: TrainingConfig,
    lora: LoraConfig,
    tokens_dir: Path,
    output_dir: Path,
    settings: Settings,
) -> TrainingResult:
    """Fine-tune a base model on tokenized rows and write the model folder.

    Args:
        task: Recorded with the model.
        model: The base model.
        training: The optimisation.
        lora: The adapter, if `training.method` is `lora`.
        tokens_dir: Holds train.arrow, validation.arrow, tokens_info.json and prompt.json.
        output_dir: Gets weights, configs, tokenizer, prompt.json, training_log.jsonl and, last, training_info.json.
        settings: Where checkpoints and the base model are kept.

    Raises:
        TrainingError: If there is nothing to train on, the loss diverges, memory runs out, or SIGTERM asked to stop.
        StorageError: If something cannot be read or written.
    """
    began = time.monotonic()
    prompt = read_prompt(tokens_dir)
    info = _read_info(tokens_dir)
    rows, validation = read_rows(tokens_dir / "train.arrow"), read_rows(tokens_dir / "validation.arrow")
    if not len(rows):
        raise TrainingError(
            f"{tokens_dir / 'train.arrow'} holds no row with a token to learn. "
            "Check the dataset and tokens.max_seq_length."
        )
    remove_stale_files(output_dir)
    base = resolve_model(model, settings)
    hardware = choose_hardware(training)
    identity = {
        "tokens_fingerprint": info["fingerprint"],
        "base_weights_sha256": hash_weights(base.path),
        "training": training.model_dump(mode="json", exclude={"save_total_limit"}),
        "lora": lora.model_dump(mode="json", exclude={"merge_lora_weights"}) if training.method == "lora" else None,
        "precision": hardware.precision,
    }
    run = TrainingRun(model, training, lora, rows, validation, base, hardware, output_dir)
    checkpoints = settings.checkpoints / checkpoint_key(identity)
    with hold_checkpoints(checkpoints):
        result = run.train(checkpoints, began)
        write_prompt(prompt, output_dir)
        # written last, so its presence means that the fine-tuning is finished
        write_json(output_dir / INFO_FILE, _describe(result, task, model, training, lora, base, identity, settings))
    shutil.rmtree(checkpoints, ignore_errors=True)
    logger.info(
        "Fine-tuned in %.0f s: %d steps, training loss %.4f, validation loss %s, %.0f tokens/s, peak memory %.2f GB",
        result.seconds, result.steps, result.train_loss,
        "-" if result.validation_loss is None else f"{result.validation_loss:.4f}",
        result.tokens_per_second, result.peak_memory_bytes / 1e9,
    )  # fmt: skip
    return result


def _read_info(tokens_dir: Path) -> dict[str, Any]:
    path = tokens_dir / "tokens_info.json"
    try:
        info: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(info["fingerprint"], str):
            raise TypeError("fingerprint is not a text")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{path} is missing or incomplete ({error!r}). Run the tokenization again.") from error
    return info


def _describe(
    result: TrainingResult,
    task: TaskConfig,
    model: ModelConfig,
    training: TrainingConfig,
    lora: LoraConfig,
    base: ResolvedModel,
    identity: dict[str, Any],
    settings: Settings,
) -> dict[str, Any]:
    """The content of training_info.json."""
    from dataclasses import asdict
    from importlib.metadata import version

    finished = datetime.now(UTC)
    key = checkpoint_key(identity)
    return {
        "run_id": f"{finished:%Y%m%d-%H%M%S}-{key[:8]}",
        "finished": finished.isoformat(timespec="seconds"),
        "git_commit": settings.git_commit,
        "base_model_id": model.model_id,
        "base_model_revision": base.revision,
        "base_weights_sha256": identity["base_weights_sha256"],
        "tokens_fingerprint": identity["tokens_fingerprint"],
        "training_key": key,
        "method": training.method,
        **asdict(result),
        "config": {
            "task": task.model_dump(mode="json"),
            "model": model.model_dump(mode="json"),
            "training": training.model_dump(mode="json"),
            "lora": lora.model_dump(mode="json") if training.method == "lora" else None,
        },
        "libraries": {name: version(name) for name in ("torch", "transformers", "peft", "accelerate")},
    }
