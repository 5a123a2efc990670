"""Finds a dataset: the embedded one, local files, an http(s) address or the Hub."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from components.core.data.formats import Limits, format_of
from components.core.data.sources.download import download, is_url, without_secrets
from components.core.data.sources.hub import open_hub
from components.core.data.sources.local import DATASET_KEY, open_local
from components.core.data.sources.paths import parse_path
from components.core.data.sources.source import SPLITS, NumberedRow, Source
from components.core.data.sources.split_files import add_split_files
from components.core.errors import StorageError
from components.core.recipe import DataConfig
from components.core.settings import STARTER_DIR, Settings

__all__ = ["SPLITS", "STARTER", "NumberedRow", "Source", "local_path", "open_source", "starter_folder"]

STARTER = "starter"


def starter_folder(task: str) -> Path:
    """The embedded dataset of a task: questions for `context_qa`, else the task's own rows."""
    return STARTER_DIR / "data" if task == "context_qa" else STARTER_DIR / "tasks" / task


def local_path(data: DataConfig, task: str) -> Path | None:
    """The local file or folder that `data.dataset_id` means; None for an address or a Hub id.

    Args:
        data: Which dataset.
        task: Name of the task; `starter` is another dataset for each.

    Raises:
        StorageError: If it is plainly a path, but there is nothing.
        DataError: If it is an address of another kind than http(s).
    """
    name = data.dataset_id
    if name == STARTER:
        if not starter_folder(task).is_dir():
            raise StorageError(f"there is no embedded dataset of the task {task}. Name yours in data.dataset_id.")
        return starter_folder(task)
    if is_url(name):
        return None
    path, exists = parse_path(name, DATASET_KEY, "a path, an http(s) address or a Hub id")
    looks_local = (
        name.startswith((".", "/", "~", "-")) or name.count("/") > 1 or "\\" in name or format_of(name) is not None
    )
    if not exists and looks_local:
        raise StorageError(f"cannot read {name[:200]}: no such file or folder. Check data.dataset_id.")
    return path if exists else None


def open_source(
    data: DataConfig,
    settings: Settings,
    columns: Sequence[str],
    wanted: Collection[str],
    download_dir: Path,
    task: str = "context_qa",
) -> Source:
    """Find the dataset and its splits, and the files that take the place of some.

    Args:
        data: Which dataset.
        settings: Where the Hub is.
        columns: The dataset's names of the required columns.
        wanted: The dataset's names of all columns that are used.
        download_dir: Where files from http(s) addresses are put.
        task: Name of the task; `starter` is another dataset for each.

    Raises:
        StorageError: If it cannot be found or read.
        DataError: If it is there but holds no splits.
    """
    limits = Limits(data.max_file_bytes, data.max_row_bytes)
    source = _open_dataset(data, settings, limits, columns, wanted, download_dir, task)
    return add_split_files(source, data, limits, columns, wanted, download_dir)


def _open_dataset(
    data: DataConfig,
    settings: Settings,
    limits: Limits,
    columns: Sequence[str],
    wanted: Collection[str],
    download_dir: Path,
    task: str,
) -> Source:
    path = local_path(data, task)
    if path is not None:
        return open_local(path, data, limits, columns, wanted)
    if is_url(data.dataset_id):
        file = download(data.dataset_id, download_dir, data.max_file_bytes)
        source = open_local(file, data, limits, columns, wanted)
        return replace(source, dataset_id=without_secrets(data.dataset_id))
    return open_hub(data, settings, wanted)
