"""Where the tools keep what is no dataset (journals, reports), and what a dataset holds already."""

import os
import re
import tempfile
from pathlib import Path
from typing import Any

from components.core.data.sources.local import files_of_split
from components.core.errors import DataError, StorageError
from components.core.registry.hub_errors import clear_errors, with_retries
from components.core.settings import Settings
from components.core.tables import read_rows
from components.core.tables.places import folder_to_write


def tool_folder(dataset_id: str, settings: Settings) -> Path:
    """The folder of a result's journals and reports; nothing is made."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", dataset_id).strip("-.") or "dataset"
    return (settings.whetstone_home / "synthesis" / name).resolve()


def existing_rows(dataset_id: str, split: str, settings: Settings, on_hub: bool) -> list[dict[str, Any]]:
    """The rows that a split has where it will be written; none where it is not there yet.

    Raises:
        StorageError: If it cannot be read.
        RegistryError: If the Hub cannot be asked.
    """
    if not on_hub:
        folder = folder_to_write(dataset_id, settings)
        there = folder.is_dir() and bool(files_of_split(folder, split))
        return read_rows(str(folder), split, settings) if there else []
    from huggingface_hub import HfApi

    token = settings.hf_token.get_secret_value() if settings.hf_token else None
    with clear_errors(dataset_id, settings, f"look for {dataset_id}"):
        api = HfApi(endpoint=settings.hf_endpoint, token=token)
        there = with_retries(lambda: api.repo_exists(dataset_id, repo_type="dataset"))
    try:
        # a revision, so that a copy saved on this machine is not read instead
        return read_rows(dataset_id, split, settings, revision="main") if there else []
    except DataError:
        return []  # a repository without this split


def write_text(file: Path, text: str) -> None:
    """Write a file, all or nothing.

    Raises:
        StorageError: If it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as target:
            target.write(text)
        Path(name).replace(file)
    except OSError as error:
        raise StorageError(f"cannot write {file}: {error.strerror or error}. Check WHETSTONE_HOME.") from error
