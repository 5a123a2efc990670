"""The reference rows of a loop: where they are, and how a step names them to a tool."""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.core.data import source_version
from components.core.data.sources import STARTER, starter_folder
from components.core.loop.config import ReferenceConfig
from components.core.recipe import DataConfig
from components.core.settings import Settings
from components.core.tables import read_rows, write_rows
from components.core.tables.places import folder_to_write

CHAT = "chat_completion"


def resolve(reference: ReferenceConfig) -> ReferenceConfig:
    """The same with the folder of the embedded conversations in place of `starter`.

    Done in the step, not where the run is asked for: the folder is another one there.
    """
    if reference.dataset_id != STARTER:
        return reference
    return ReferenceConfig(dataset_id=str(starter_folder(CHAT)), train_split="train", test_split="test")


def reference_version(reference: ReferenceConfig, settings: Settings) -> str:
    """A text that changes when the reference rows change, for the cache key of the steps that read them.

    Raises:
        StorageError: If a local file or folder is missing or unreadable.
    """
    found = resolve(reference)
    saved = settings.whetstone_home / "datasets" / found.dataset_id
    name = str(saved.resolve()) if saved.is_dir() else found.dataset_id
    data = DataConfig(dataset_id=name, train_split=found.train_split, test_split=found.test_split)
    return source_version(data, settings, CHAT)


def work_name(kind: str, number: int, inputs: Mapping[str, Any]) -> str:
    """A name for what a step writes while it works, the same when the step is tried again, whatever its output folder.

    Args:
        kind: What is written.
        number: Of the round.
        inputs: All that the step was given, paths of its inputs included.
    """
    text = repr(sorted((name, str(value)) for name, value in inputs.items()))
    return f"loop-{kind}-{number}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def hand_over(name: str, split: str, output_dir: Path, settings: Settings) -> None:
    """Put what a tool saved under its work name into the output folder of the step, and remove it there.

    Raises:
        StorageError: If it cannot be read or written.
    """
    write_rows(read_rows(name, split, settings), str(output_dir), split, settings)
    shutil.rmtree(folder_to_write(name, settings), ignore_errors=True)
