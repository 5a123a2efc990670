"""The model folder that a fine-tuning leaves."""

import shutil
from pathlib import Path
from typing import Any

from components.core.errors import StorageError
from components.core.heads.folders import (
    CHECKPOINTS_FOLDER,
    FINETUNE_ARGS_FILE,
    ONNX_FILE,
    ONNX_INFO_FILE,
    ONNX_INT8_FILE,
    PREPROCESS_ARGS_FILE,
)
from components.core.heads.training.job import HeadInputs
from components.core.tasks.heads import HEAD_FILE, Head, write_head
from components.core.training.model import remove_stale_files, write_json

_ONLY_FOR_RESUMING = ("optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state*.pth", "latest", "zero_to_fp32.py")
"""State of the optimizer and the like: of no use once the training is finished, and some of it is no safe format."""


def prepare_folder(folder: Path) -> None:
    """Make the folder, without what an earlier run left.

    Raises:
        StorageError: If it cannot be written.
    """
    remove_stale_files(folder)
    for name in (ONNX_FILE, ONNX_INT8_FILE, ONNX_INFO_FILE, FINETUNE_ARGS_FILE, PREPROCESS_ARGS_FILE, HEAD_FILE):
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / CHECKPOINTS_FOLDER, ignore_errors=True)


def write_weights(model: Any, folder: Path) -> None:
    """Write a model, or an adapter alone.

    Raises:
        StorageError: If the folder cannot be written.
    """
    adapter = hasattr(model, "peft_config")
    try:
        # without the option peft asks the Hub about the base model's vocabulary
        model.save_pretrained(folder, **({"save_embedding_layers": False} if adapter else {}))
        (folder / "README.md").unlink(missing_ok=True)  # an empty model card
    except Exception as error:  # safetensors raises errors of its own beside OSError
        reason = " ".join(str(error).split())[:200]
        raise StorageError(
            f"cannot write the model to {folder}: {reason}. Free some space, and run again with "
            "resume_from_checkpoint=true: the training is kept."
        ) from error


def write_companions(inputs: HeadInputs, head: Head, finetune_args: dict[str, Any], folder: Path) -> None:
    """Write everything that belongs beside the weights.

    Raises:
        StorageError: If the folder cannot be written.
    """
    try:
        for path in inputs.tokenizer.iterdir():
            if path.is_file():
                shutil.copyfile(path, folder / path.name)
    except OSError as error:
        raise StorageError(f"cannot copy the tokenizer to {folder}: {error.strerror or error}.") from error
    write_head(head, folder)
    write_json(folder / PREPROCESS_ARGS_FILE, inputs.arguments)
    write_json(folder / FINETUNE_ARGS_FILE, finetune_args)


def keep_checkpoints(checkpoints: Path, folder: Path) -> None:
    """Move the checkpoints into the model folder, without what only a resume needs.

    Raises:
        StorageError: If the folder cannot be written.
    """
    try:
        for checkpoint in sorted(checkpoints.glob("checkpoint-*")):
            for pattern in _ONLY_FOR_RESUMING:
                for path in checkpoint.glob(pattern):
                    path.unlink()
            for path in checkpoint.glob("global_step*"):
                shutil.rmtree(path)
            # its list of files no longer holds
            (checkpoint / "complete.json").unlink(missing_ok=True)
            (checkpoint / "README.md").unlink(missing_ok=True)
            shutil.move(checkpoint, folder / CHECKPOINTS_FOLDER / checkpoint.name)
    except OSError as error:
        raise StorageError(
            f"cannot move the checkpoints to {folder}: {error.strerror or error}. Free some space and run again."
        ) from error
