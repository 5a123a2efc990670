"""Rows saved as one split: in a file, or on the Hub as parquet; other splits stay as they are."""

import json
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.core.data.naming import printable
from components.core.data.sources.hub_files import as_text
from components.core.data.sources.local import files_of_split
from components.core.errors import ConfigError, DataError, StorageError
from components.core.settings import Settings
from components.core.tables.hub import check_hub_columns, check_hub_target, push_rows, rows_on_hub
from components.core.tables.places import check_hub_id, check_split, folder_to_write, own_words, saved_folder
from components.core.tables.reading import Rows, read_rows

logger = logging.getLogger(__name__)


def check_target(
    dataset_id: str,
    split: str,
    settings: Settings,
    *,
    append: bool = False,
    push_to_hub: bool = False,
    columns: Sequence[str] | None = None,
) -> None:
    """Make sure, before hours of work, that rows can be written there; nothing is written.

    Args are those of `write_rows`; without `columns` they are not compared with those that are there.

    Raises:
        ConfigError: If the names cannot be, or rows shall be pushed and there is no HF_TOKEN.
        StorageError: If the token may not write to the repository, or the Hub cannot be reached.
        DataError: If the columns do not agree, or the folder has the split in another format than JSON lines.
    """
    check_split(split)
    if not push_to_hub:
        file = _own_file(folder_to_write(dataset_id, settings), dataset_id, split)
        if append and columns and file.is_file():
            there = read_rows(str(file), split, settings)
            _in_columns(there, columns, dataset_id, split, "the rows that are there")
        return
    check_hub_id(dataset_id)
    if settings.hf_token is None:
        raise ConfigError(f"pushing to {dataset_id} needs a token with write permission. Set HF_TOKEN.")
    with own_words():
        check_hub_target(dataset_id, settings)
        if columns:
            check_hub_columns(dataset_id, split, columns, settings, append)


def target_place(dataset_id: str, split: str, settings: Settings, *, push_to_hub: bool = False) -> str:
    """What `write_rows` gives back."""
    if push_to_hub:
        return f"{settings.hf_endpoint}/datasets/{dataset_id}"
    return str(folder_to_write(dataset_id, settings) / f"{split}.jsonl")


def target_rows(dataset_id: str, split: str, settings: Settings, *, push_to_hub: bool = False) -> Rows:
    """The rows that `append` puts others below; none where there is nothing yet.

    Raises:
        StorageError: If they cannot be read.
        DataError: If one of them cannot.
    """
    if push_to_hub:
        with own_words():
            return rows_on_hub(dataset_id, split, settings)
    file = _own_file(folder_to_write(dataset_id, settings), dataset_id, split)
    return read_rows(str(file), split, settings) if file.is_file() else []


def write_rows(
    rows: Sequence[Mapping[str, Any]],
    dataset_id: str,
    split: str,
    settings: Settings,
    *,
    append: bool = False,
    push_to_hub: bool = False,
    columns: Sequence[str] | None = None,
) -> str:
    """Save rows as one split, all or nothing.

    Args:
        rows: Each with the same columns.
        dataset_id: A folder; else a name, which means WHETSTONE_HOME/datasets/<name>, or the Hub's repository.
        split: Name of the split.
        settings: Where the Hub and saved datasets are.
        append: Put them below the rows that are there; False takes their place.
        push_to_hub: Write to the Hub instead of the disk; a new repository is private.
        columns: The columns in their order; None takes those of the first row.

    Returns:
        The file, or the address on the Hub.

    Raises:
        ConfigError: If the names cannot be, or rows shall be pushed and there is no HF_TOKEN.
        DataError: If there are no rows, or columns do not agree, within the rows or with those that are there.
        StorageError: If the place cannot be read or written.
    """
    check_target(dataset_id, split, settings, push_to_hub=push_to_hub)
    names = list(columns or (rows[0] if rows else ()))
    table = _in_columns(rows, names, dataset_id, split)
    if push_to_hub:
        with own_words():
            where = push_rows(table, names, dataset_id, split, settings, append)
        _set_aside(dataset_id, split, settings)
        return where
    file = _own_file(folder_to_write(dataset_id, settings), dataset_id, split)
    before = target_rows(dataset_id, split, settings) if append else []
    if before:
        table = _in_columns(before, names, printable(str(file)), split, "the rows that are there") + table
    _write_file(table, file, dataset_id, split)
    return str(file)


def _in_columns(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], dataset_id: str, split: str, what: str = "the new rows"
) -> Rows:
    if not rows or not names:
        raise DataError(f"there are no rows to write as split {split} of {printable(dataset_id)}.")
    wanted = set(names)
    for number, row in enumerate(rows, start=1):
        if set(row) != wanted:
            extra, lacking = sorted(set(row) - wanted), sorted(wanted - set(row))
            differ = "; ".join(
                f"{word} {', '.join(map(str, found))}"
                for word, found in (("lacks", lacking), ("also has", extra))
                if found
            )
            raise DataError(
                f"{printable(dataset_id)}, split {split}: the columns differ: row {number} of {what} {differ}. All "
                f"rows need exactly {', '.join(names)}. Correct them, choose another split, or do not append."
            )
    return [{name: row[name] for name in names} for row in rows]


def _own_file(folder: Path, dataset_id: str, split: str) -> Path:
    """The JSON lines of a split; a split of another format is not replaced, because it is not ours."""
    file = folder / f"{split}.jsonl"
    found = files_of_split(folder, split) if folder.is_dir() else []
    if found not in ([], [file]):
        names = ", ".join(printable(each.name) for each in found)
        raise DataError(
            f"{printable(dataset_id)} has the split {split} as {names}, which is not replaced by {file.name}. Choose "
            "another split or folder, or move it away."
        )
    return file


def _write_file(table: Rows, file: Path, dataset_id: str, split: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
        partial = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as target:
                for number, row in enumerate(table, start=1):
                    target.write(_as_line(row, f"{printable(dataset_id)}, split {split}, row {number}"))
                target.flush()
                os.fsync(target.fileno())
            partial.chmod(0o644)
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot write {file}: {error.strerror or error}. Choose another place.") from error
    logger.info("Wrote %d rows to %s", len(table), file)


def _as_line(row: Mapping[str, Any], where: str) -> str:
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False, default=as_text) + "\n"
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{where}: cannot be written as JSON ({error}). Write text, numbers, lists and maps."
        ) from error


def _set_aside(dataset_id: str, split: str, settings: Settings) -> None:
    """A copy that was saved here before would be read instead of what is on the Hub now."""
    saved = saved_folder(dataset_id, settings)
    file = saved / f"{split}.jsonl" if saved else None
    if file is not None and file.is_file():
        kept = file.with_name(f"{file.name}.before-push")
        file.replace(kept)
        logger.warning("%s is on the Hub now; the rows that were saved here before are in %s", dataset_id, kept)
