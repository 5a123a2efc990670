"""One fine-tuning as it is handed from process to process: a file without secrets."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from components.core.errors import StorageError, TrainingError
from components.core.recipe import LoraConfig, ModelConfig, TaskConfig, TrainingConfig
from components.core.training.rows import TokenRows, read_rows


class Job(BaseModel):
    """What is trained on what, and where to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: TaskConfig
    """Recorded with the model."""
    model: ModelConfig
    """The base model."""
    training: TrainingConfig
    """The optimisation."""
    lora: LoraConfig
    """The adapter, if `training.method` is `lora`."""
    tokens_dir: Path
    """Holds train.arrow, validation.arrow, tokens_info.json and prompt.json."""
    output_dir: Path
    """Gets weights, configs, tokenizer, prompt.json, training_log.jsonl and, last, training_info.json."""


@dataclass(frozen=True)
class Inputs:
    """The tokens of a job, opened and looked at."""

    info: dict[str, Any]
    """The content of tokens_info.json."""
    rows: TokenRows
    validation: TokenRows


def read_inputs(tokens_dir: Path) -> Inputs:
    """Open the tokens of a job.

    Raises:
        StorageError: If a file is missing or damaged.
        TrainingError: If there is nothing to train on.
    """
    info = _read_info(tokens_dir)
    rows, validation = read_rows(tokens_dir / "train.arrow"), read_rows(tokens_dir / "validation.arrow")
    if not len(rows):
        raise TrainingError(
            f"{tokens_dir / 'train.arrow'} holds no row with a token to learn. "
            "Check the dataset and tokens.max_seq_length."
        )
    return Inputs(info, rows, validation)


def write_job(job: Job, path: Path) -> None:
    """Write a job for its workers.

    Raises:
        StorageError: If it cannot be written.
    """
    try:
        path.write_text(job.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}. Free some space and run again.") from error


def read_job(path: Path) -> Job:
    """Read a job.

    Raises:
        StorageError: If the file is missing or not of this version.
    """
    try:
        return Job.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        reason = " ".join(str(error).split())[:200]
        raise StorageError(
            f"cannot read the job {path}: {reason}. All pods of a training need the same image and volume."
        ) from error


def _read_info(tokens_dir: Path) -> dict[str, Any]:
    path = tokens_dir / "tokens_info.json"
    try:
        info: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(info["fingerprint"], str):
            raise TypeError("fingerprint is not a text")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{path} is missing or incomplete ({error!r}). Run the tokenization again.") from error
    return info
