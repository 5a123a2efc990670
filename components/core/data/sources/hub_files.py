"""A Hub dataset as files: `<split>.jsonl` for each of its splits."""

import json
import logging
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

from components.core.data.formats.class_names import class_names, name_classes
from components.core.data.sources.hub import explain, open_streams
from components.core.errors import DataError, PlatformError, StorageError
from components.core.recipe import DataConfig
from components.core.settings import Settings

logger = logging.getLogger(__name__)

_PROGRESS_SECONDS = 5.0


def download_splits(data: DataConfig, settings: Settings, folder: Path, percent: float = 100) -> dict[str, Path]:
    """Write every split of a Hub dataset into a folder; the files appear together, once all are complete.

    Args:
        data: Which dataset, revision and subset.
        settings: Where the Hub is.
        folder: Where the files go; older ones of the same names are replaced.
        percent: Share of each split that is taken from its start, rounded to the nearest row and at least one.

    Returns:
        File of each split.

    Raises:
        StorageError: If the Hub refuses or cannot be reached, or the folder cannot be written.
        DataError: If a split has no rows, or rows that JSON cannot hold.
    """
    commit, _, streams = open_streams(data, settings)
    logger.info("Downloading %s at commit %s: %s", data.dataset_id, commit, ", ".join(map(str, streams)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            partial = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".download-", dir=folder)))
            written = {}
            for split, stream in streams.items():
                if not re.fullmatch(r"\w[\w.-]*", str(split)):
                    raise DataError(f"{data.dataset_id} has a split {split!r}, which is no name of a file.")
                written[str(split)] = _write(stream, str(split), partial, data, settings, percent)
            return {split: file.replace(folder / file.name) for split, file in written.items()}
    except OSError as error:
        raise StorageError(f"cannot write into {folder}: {error.strerror or error}. Choose another folder.") from error


def _write(stream: Any, split: str, folder: Path, data: DataConfig, settings: Settings, percent: float) -> Path:
    name = f"{data.dataset_id}/{split}"
    total = _count(stream, data, settings) if percent < 100 else _known_count(stream)
    limit = max(1, round(total * percent / 100)) if percent < 100 and total else None
    expected = limit or total
    file, rows, reported = folder / f"{split}.jsonl", 0, time.monotonic()
    with file.open("w", encoding="utf-8", newline="\n") as target:
        for rows, row in enumerate(islice(stream_rows(stream, data, settings), limit), start=1):
            target.write(_as_line(row, name, rows))
            if time.monotonic() - reported > _PROGRESS_SECONDS:
                reported = time.monotonic()
                logger.info("%s: %s of %s rows", split, f"{rows:,}", f"{expected:,}" if expected else "?")
    if not rows:
        raise DataError(f"{name} holds no rows.")
    logger.info("%s.jsonl: %s rows, %s bytes", split, f"{rows:,}", f"{file.stat().st_size:,}")
    return file


def stream_rows(stream: Any, data: DataConfig, settings: Settings) -> Iterator[dict[str, Any]]:
    """Rows of one of a Hub dataset's splits, classes by their names; the Hub's errors as ours."""
    names = class_names(stream.features.to_dict()) if stream.features else {}
    try:
        for value in stream:
            yield name_classes(dict(value), names)
    except PlatformError:
        raise
    except Exception as error:
        raise explain(error, data, settings) from error


def _known_count(stream: Any) -> int | None:
    """Rows of a split, where the dataset's card says it."""
    splits = stream.info.splits or {}
    found = splits.get(str(stream.split))
    return int(found.num_examples) if found and found.num_examples else None


def _count(stream: Any, data: DataConfig, settings: Settings) -> int:
    """Rows of a split; counted by reading it once where the dataset's card does not say."""
    known = _known_count(stream)
    if known:
        return known
    columns = stream.column_names
    narrow = stream.select_columns(columns[:1]) if columns else stream
    return sum(1 for _ in stream_rows(narrow, data, settings))


def _as_line(row: dict[str, Any], name: str, number: int) -> str:
    try:
        return json.dumps(row, ensure_ascii=False, default=as_text) + "\n"
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}:{number}: cannot be written as JSON ({error}). Use a dataset of text.") from error


def as_text(value: Any) -> str:
    """Dates as text, for JSON; a TypeError for what JSON cannot hold."""
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    raise TypeError(f"a value of type {type(value).__name__}")
