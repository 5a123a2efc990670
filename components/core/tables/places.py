"""Where a dataset of the tools is: a path, a folder under WHETSTONE_HOME/datasets, or the Hub."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.core.data.formats import format_of
from components.core.data.sources.download import is_url
from components.core.data.sources.paths import parse_path
from components.core.errors import ConfigError, DataError, PlatformError, RegistryError, StorageError
from components.core.settings import Settings

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_SAVED = re.compile(rf"{_PART}(/{_PART})?")
_HUB_ID = re.compile(rf"{_PART}/{_PART}")
_SPLIT = re.compile(r"\w+(\.\w+)*")
_KEYS = {
    "data.dataset_id": "the dataset's name",
    "data.revision": "the revision",
    "data.train_split": "the split",
    "data.subset": "a dataset without subsets",
    "HF_REPO": "the dataset's name",
    "run the upload again": "run it again",
    "Run the upload again": "Run it again",
}
"""What the messages of other rooms call the keys of a recipe, of which these tools have none."""


def is_path(dataset_id: str) -> bool:
    """Whether a name plainly means a file or folder of this machine, or one is there."""
    _, exists = parse_path(dataset_id, "a dataset", "a path or a Hub id")
    looks_local = dataset_id.startswith((".", "/", "~")) or dataset_id.count("/") > 1 or "\\" in dataset_id
    return exists or looks_local or format_of(dataset_id) is not None


def saved_folder(dataset_id: str, settings: Settings) -> Path | None:
    """Where the tools save a dataset that is no path; None for a name that no folder can have."""
    if not _SAVED.fullmatch(dataset_id):
        return None
    return (settings.whetstone_home / "datasets" / dataset_id).resolve()


def folder_to_write(dataset_id: str, settings: Settings) -> Path:
    """The folder that splits of a dataset are saved in.

    Raises:
        ConfigError: If the name can be no folder, or is a file's.
    """
    if is_url(dataset_id):
        raise ConfigError(f"{dataset_id} is an address, and rows are saved in a folder. Name a folder or user/name.")
    if is_path(dataset_id):
        folder = Path(dataset_id).expanduser()
        if folder.is_file() or format_of(dataset_id) is not None:
            raise ConfigError(
                f"{dataset_id} is a file, and rows are saved in a folder, a file for each split. Name a folder."
            )
        return folder.resolve()
    saved = saved_folder(dataset_id, settings)
    if saved is None:
        raise ConfigError(f"{dataset_id!r} is no name of a dataset. Name a folder or user/name.")
    return saved


def check_split(split: str) -> None:
    """Raise ConfigError unless a split may have this name, on the Hub too."""
    if not _SPLIT.fullmatch(split):
        raise ConfigError(f"{split!r} is no name of a split. Use letters, digits and underscores.")


def check_hub_id(dataset_id: str) -> None:
    """Raise ConfigError unless the name is a repository's."""
    if not _HUB_ID.fullmatch(dataset_id):
        raise ConfigError(f"{dataset_id!r} is no repository of the Hub. Name it user/name to push there.")


@contextmanager
def own_words() -> Iterator[None]:
    """Tell errors of other rooms without the keys of a recipe."""
    try:
        yield
    except (DataError, StorageError, RegistryError) as error:
        raise _reworded(error) from error


def _reworded(error: PlatformError) -> PlatformError:
    message = str(error)
    for theirs, ours in _KEYS.items():
        message = message.replace(theirs, ours)
    return DataError(message) if isinstance(error, DataError) else StorageError(message)
