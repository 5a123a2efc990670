"""One fine-tuning as it is handed from process to process, and the preprocess folder that it reads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from components.core.catalogue import FINETUNE, FinetuneParameters, read_parameters
from components.core.catalogue.task_names import CORE_TASKS
from components.core.errors import ConfigError, StorageError, TrainingError
from components.core.heads.folders import PREPROCESS_ARGS_FILE, PRETRAINED_FOLDER, TOKENIZER_FOLDER
from components.core.heads.tokens import TokenTable
from components.core.registry.base_model import read_model_config
from components.core.registry.json_files import read_json, read_lines
from components.core.tasks import HeadTask, Row, get_head_task
from components.core.tasks.heads import Head, read_head

_REMEDY = "Run the preprocessing again."


class HeadJob(BaseModel):
    """What is trained on what, and where to; written to a file without secrets for the workers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    """Core name."""
    values: dict[str, Any]
    """All parameters by name."""
    preprocess_dir: Path
    output_dir: Path

    @property
    def parameters(self) -> FinetuneParameters:
        """The parameters of the task."""
        return read_parameters(FINETUNE[catalogue_task(self.task)], self.values)


@dataclass(frozen=True)
class HeadInputs:
    """A preprocess folder, opened and looked at."""

    task: HeadTask
    head: Head
    arguments: dict[str, Any]
    """Content of preprocess_args.json."""
    pretrained: Path
    tokenizer: Path
    train: TokenTable
    validation: TokenTable
    validation_rows: list[Row]

    @property
    def padded_length(self) -> int | None:
        """Tokens that every input is padded to; None pads a batch to its longest."""
        wanted = (self.arguments.get("parameters") or {}).get("pad_to_max_length", False)
        return self.head.max_seq_length if wanted else None


def catalogue_task(task: str) -> str:
    """The catalogue's name of a core task.

    Raises:
        ConfigError: If there is none.
    """
    for theirs, ours in CORE_TASKS.items():
        if ours == task:
            return theirs
    raise ConfigError(f"task {task!r} is not in the catalogue. Choose one of: {', '.join(CORE_TASKS.values())}.")


def read_inputs(task: str, folder: Path) -> HeadInputs:
    """Open a preprocess folder.

    Raises:
        StorageError: If a file is missing or damaged.
        ConfigError: If it was made for another task.
        TrainingError: If there is nothing to train on or to validate with.
    """
    arguments = read_json(folder / PREPROCESS_ARGS_FILE, _REMEDY)
    head = read_head(folder)
    if head.task != task:
        raise ConfigError(f"{folder} was preprocessed for {head.task}, not for {task}. Preprocess for {task}.")
    if not isinstance(arguments.get("fingerprint"), str):
        raise StorageError(f"{folder / PREPROCESS_ARGS_FILE} has no fingerprint. {_REMEDY}")
    read_model_config(folder / PRETRAINED_FOLDER)
    inputs = HeadInputs(
        task=get_head_task(task),
        head=head,
        arguments=arguments,
        pretrained=folder / PRETRAINED_FOLDER,
        tokenizer=folder / TOKENIZER_FOLDER,
        train=TokenTable(folder / "train.arrow"),
        validation=TokenTable(folder / "validation.arrow"),
        validation_rows=read_lines(folder / "validation.jsonl", _REMEDY),
    )
    for name, table in (("train", inputs.train), ("validation", inputs.validation)):
        if not len(table):
            raise TrainingError(f"{folder / name}.arrow holds no row. Check the dataset and its splits.")
    return inputs


def read_job(path: Path) -> HeadJob:
    """Read a job.

    Raises:
        StorageError: If the file is missing or not of this version.
    """
    try:
        return HeadJob.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        reason = " ".join(str(error).split())[:200]
        raise StorageError(f"cannot read the job {path}: {reason}. All processes need the same code.") from error
