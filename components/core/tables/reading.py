"""Rows of one split, from wherever it is."""

import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from components.core.data.formats import BrokenFile, Limits, read_file
from components.core.data.naming import printable
from components.core.data.sources import STARTER, starter_folder
from components.core.data.sources.download import download, is_url, without_secrets
from components.core.data.sources.hub import open_streams
from components.core.data.sources.hub_files import stream_rows
from components.core.data.sources.local import check_format, files_of_split, find_local, splits_of
from components.core.errors import DataError, PlatformError, StorageError
from components.core.recipe import DataConfig
from components.core.settings import Settings
from components.core.tables.places import is_path, own_words, saved_folder

logger = logging.getLogger(__name__)

Rows = list[dict[str, Any]]


def read_rows(dataset_id: str, split: str, settings: Settings, revision: str | None = None) -> Rows:
    """Every row of a split, as it is written there.

    Args:
        dataset_id: A folder with `<split>.jsonl` (or .json, .csv, .tsv, .parquet, shards too), one file or http(s)
            address, of which every row counts; a dataset that a tool saved under WHETSTONE_HOME/datasets; a Hub id;
            `starter` for the embedded conversations.
        split: Name of the split; a file has only one, so there it is not looked at.
        settings: Where the Hub and saved datasets are.
        revision: Branch, tag or commit; then only the Hub is asked.

    Raises:
        StorageError: If there is no such dataset, or it cannot be read.
        DataError: If it lacks the split, a row cannot be read (the message names file and row), or there is no row.
    """
    with own_words():
        rows = _find_rows(dataset_id, split, settings, revision)
    if not rows:
        raise DataError(f"{_shown(dataset_id, split)} holds no rows.")
    return rows


def _find_rows(dataset_id: str, split: str, settings: Settings, revision: str | None) -> Rows:
    if dataset_id == STARTER:
        return _local_rows(str(starter_folder("chat_completion")), split)
    if is_url(dataset_id):
        with tempfile.TemporaryDirectory() as folder:
            file = download(dataset_id, Path(folder), DataConfig().max_file_bytes)
            return _file_rows([(without_secrets(dataset_id), file)])
    if is_path(dataset_id):
        return _local_rows(dataset_id, split)
    saved = saved_folder(dataset_id, settings)
    if revision is None and saved is not None and saved.is_dir():
        files = files_of_split(saved, split)
        if files:
            return _file_rows([(f"{dataset_id}/{file.name}", file) for file in files])
    try:
        return _hub_rows(dataset_id, split, settings, revision)
    except PlatformError as error:
        if saved is None or not saved.is_dir():
            raise
        there = ", ".join(splits_of(saved)) or "none"
        raise type(error)(f"{error} (Saved on this machine, in {saved}, are the splits: {there}.)") from error


def _local_rows(dataset_id: str, split: str) -> Rows:
    real = find_local(Path(dataset_id).expanduser())
    if real.is_file():
        check_format(real)
        return _file_rows([(printable(dataset_id), real)])
    files = files_of_split(real, split)
    if not files:
        found = ", ".join(splits_of(real)) or "no data files"
        raise DataError(
            f"{printable(dataset_id)} has no split {split!r}: there is no {split}.jsonl (or .json, .csv, .tsv, "
            f".parquet). It has {found}."
        )
    return _file_rows([(f"{printable(dataset_id.rstrip('/'))}/{file.name}", file) for file in files])


def _file_rows(files: Iterable[tuple[str, Path]]) -> Rows:
    return [row for name, path in files for row in _rows_of(name, path)]


def _rows_of(name: str, path: Path) -> Iterator[dict[str, Any]]:
    limits = Limits(DataConfig().max_file_bytes, DataConfig().max_row_bytes)
    try:
        for parsed in read_file(path, limits, [], _Everything()):
            errors = [finding.message for finding in parsed.findings if finding.severity == "error"]
            if errors:
                raise DataError(f"{name}:{parsed.row}: {'; '.join(errors)}.")
            for finding in parsed.findings:
                logger.warning("%s:%d: %s", name, parsed.row, finding.message)
            if parsed.value is not None:
                yield parsed.value
    except BrokenFile as error:
        raise DataError(f"{name}:{error.row}: {error}." if error.row else f"{name}: {error}.") from error
    except OSError as error:
        raise StorageError(f"cannot read {name}: {error.strerror or error}. Check that it is readable.") from error


class _Everything(frozenset[str]):
    """The names of all columns."""

    def __contains__(self, name: object) -> bool:
        return True


def _hub_rows(dataset_id: str, split: str, settings: Settings, revision: str | None) -> Rows:
    data = DataConfig(dataset_id=dataset_id, revision=revision)
    commit, _, streams = open_streams(data, settings)
    if split not in streams:
        raise DataError(f"{dataset_id} has no split {split!r}; it has {', '.join(map(str, streams))}. Check the split.")
    logger.info("Reading %s, split %s, at commit %s", dataset_id, split, commit)
    return list(stream_rows(streams[split], data, settings))


def _shown(dataset_id: str, split: str) -> str:
    return without_secrets(dataset_id) if is_url(dataset_id) else f"{printable(dataset_id)}, split {split},"
