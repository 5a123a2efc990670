"""Splits that come as files of their own: `data.validation_file` and `data.test_file`."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from components.core.data.formats import Limits
from components.core.data.naming import printable
from components.core.data.sources.download import download, is_url, without_secrets
from components.core.data.sources.local import check_format, find_local, read_files
from components.core.data.sources.paths import parse_path
from components.core.data.sources.source import SPLITS, NumberedRow, Source
from components.core.errors import StorageError
from components.core.recipe import DataConfig


def split_files(data: DataConfig) -> dict[str, str]:
    """Path or address of each split that comes as a file of its own."""
    named = {"validation": data.validation_file, "test": data.test_file}
    return {split: name for split, name in named.items() if name is not None}


def local_split_file(split: str, name: str) -> Path | None:
    """The local file that a split is in; None for an http(s) address.

    Raises:
        StorageError: If there is no such file.
        DataError: If it is an address of another kind.
    """
    if is_url(name):
        return None
    key = file_key(split)
    path, _ = parse_path(name, key, "a path or an http(s) address")
    real = find_local(path, key)
    if real.is_dir():
        raise StorageError(f"cannot read {printable(name)}: it is a folder. Name one file in {key}.")
    return real


def file_key(split: str) -> str:
    """Name of the recipe's key for a split's file."""
    return f"data.{split}_file"


def add_split_files(
    source: Source,
    data: DataConfig,
    limits: Limits,
    columns: Sequence[str],
    wanted: Collection[str],
    download_dir: Path,
) -> Source:
    """The source with these splits; they take the place of the dataset's own.

    Raises:
        StorageError: If a file cannot be found or downloaded.
        DataError: If its format is not supported.
    """
    given = split_files(data)
    splits, files = dict(source.splits), dict(source.files)
    for split in given:
        files.pop(split, None)
    for split, name in given.items():
        path = local_split_file(split, name)
        real = path or download(name, download_dir / split, data.max_file_bytes)
        check_format(real)
        shown = _display(real, name, files)
        files[split] = [shown]
        splits[split] = _reader(shown, real, limits, columns, wanted)
    ordered = [split for split in SPLITS if split in splits]
    return replace(
        source, splits={split: splits[split] for split in ordered}, files={split: files[split] for split in ordered}
    )


def _display(file: Path, name: str, files: Mapping[str, Sequence[str]]) -> str:
    """The file's name; all of what the user wrote where another split has a file of that name."""
    short = printable(file.name)
    if short not in {shown.rpartition("/")[2] for found in files.values() for shown in found}:
        return short
    return printable(without_secrets(name) if is_url(name) else name)


def _reader(
    shown: str, path: Path, limits: Limits, columns: Sequence[str], wanted: Collection[str]
) -> Callable[[], Iterator[NumberedRow]]:
    return lambda: read_files([(shown, path)], limits, columns, wanted)
