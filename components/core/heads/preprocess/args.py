"""`preprocess_args.json`: what a preprocess was asked for and what came of it; it travels with the model."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from components.core.errors import StorageError
from components.core.heads.folders import PREPROCESS_ARGS_FILE
from components.core.registry.facts import read_model


class ModelFacts(BaseModel):
    """The base model that was read."""

    model_config = ConfigDict(frozen=True)

    id: str
    revision: str
    """Commit on the Hub; `local` for a folder, `starter` for the embedded model."""
    weights_sha256: str
    """Over config and weights, as fine-tuning records it."""


class DatasetFacts(BaseModel):
    """The dataset that was read."""

    model_config = ConfigDict(frozen=True)

    id: str
    revision: str
    fingerprint: str
    """sha256 over all prepared rows."""
    license: str


class PreprocessArgs(BaseModel):
    """The file's content."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    task: str
    """The core's name."""
    catalogue_task: str
    parameters: dict[str, Any]
    """All parameters by name, as they were given or by default."""
    columns: dict[str, str]
    """Our column name to the dataset's."""
    label_map: dict[str, int] | None = None
    """Label, or tag, to its number; none for a regression."""
    max_seq_length: int
    """Tokens of an input that were really allowed."""
    model: ModelFacts
    dataset: DatasetFacts
    tokenizer_sha256: str
    """Of tokenizer.json."""
    splits: dict[str, dict[str, int]]
    """By split: rows, inputs, tokens, longest, cut."""
    notes: list[str] = []
    """What was decided otherwise than asked for."""
    fingerprint: str
    """Hash of everything that decides the tokens, their padding and the base weights."""


def write_preprocess_args(args: PreprocessArgs, folder: Path) -> None:
    """Write the file, the last of its folder.

    Raises:
        StorageError: If it cannot be written.
    """
    path = folder / PREPROCESS_ARGS_FILE
    try:
        path.write_text(args.model_dump_json(indent=2, exclude_none=True) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}. Free some space.") from error


def read_preprocess_args(folder: Path) -> PreprocessArgs:
    """Read the file of a preprocess output or a model folder.

    Raises:
        StorageError: If it is missing or not valid, so that the folder is not complete.
    """
    return read_model(folder / PREPROCESS_ARGS_FILE, PreprocessArgs, "Run the preprocessing again.")
