"""A short text that changes when the data that a recipe names change, for the cache key of a pipeline."""

import hashlib
from pathlib import Path

from components.core.data.sources import local_path
from components.core.data.sources.download import is_url, probe
from components.core.data.sources.hub import resolve_commit
from components.core.data.sources.local import find_local
from components.core.data.sources.split_files import local_split_file, split_files
from components.core.errors import StorageError
from components.core.recipe import DataConfig
from components.core.settings import Settings

_CHUNK_BYTES = 2**20


def source_version(data: DataConfig, settings: Settings, task: str = "context_qa") -> str:
    """Digest of local files, commit of a Hub dataset, or ETag (else date) of an address.

    Args:
        data: Which dataset.
        settings: Where the Hub is.
        task: Name of the task; `starter` is another dataset for each.

    Returns:
        The version, with those of `data.validation_file` and `data.test_file` behind it; "" in place of one for a Hub
        or server that cannot be reached or does not say.

    Raises:
        StorageError: If a local file or folder is missing or unreadable.
    """
    version = _dataset_version(data, settings, task)
    for split, name in split_files(data).items():
        file = local_split_file(split, name)
        version += f" {split}={probe(name) if file is None else f'sha256:{_digest(file)}'}"
    return version


def _dataset_version(data: DataConfig, settings: Settings, task: str) -> str:
    path = local_path(data, task)
    if path is not None:
        return f"sha256:{_digest(find_local(path))}"
    if is_url(data.dataset_id):
        return probe(data.dataset_id)
    try:
        return resolve_commit(data, settings)[0]
    except StorageError:
        return ""


def _digest(path: Path) -> str:
    """Digest of a file, or of the names and contents of the files in a folder; links out of it are left out."""
    total = hashlib.sha256()
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    for file in files:
        hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
        try:
            if hidden or not file.is_file() or not file.resolve().is_relative_to(path):
                continue
            content = hashlib.sha256()
            with file.open("rb") as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    content.update(chunk)
        except (OSError, RuntimeError) as error:
            raise StorageError(f"cannot read {file.name}: {error}. Check that it is there and readable.") from error
        total.update(f"{file.relative_to(path)}\0{content.hexdigest()}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()
