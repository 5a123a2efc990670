"""The test rows of a prepared dataset."""

import json
import logging
import random
from pathlib import Path

from components.core.errors import DataError
from components.core.tasks import Row, view_row

logger = logging.getLogger(__name__)

TEST_FILE = "test.jsonl"
DATASET_INFO = "dataset_info.json"


def read_test_rows(dataset_dir: Path, max_rows: int | None, seed: int) -> list[Row]:
    """Read the canonical test rows of a prepared dataset; see `read_rows`."""
    return read_rows(dataset_dir / TEST_FILE, max_rows, seed)


def read_rows(path: Path, max_rows: int | None, seed: int) -> list[Row]:
    """Read canonical rows, or a seeded random sample of them in their order.

    Raises:
        DataError: If the file is missing, holds no row, or holds one that is not canonical.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path} ({error}). Run the step that fetches the dataset again.") from error
    rows = [_parse(line, path, number) for number, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        raise DataError(
            f"{path} holds no row, so nothing can be judged. Name another split in data.test_split, or give more data."
        )
    if max_rows is not None and max_rows < len(rows):
        logger.info("Judging %d of %d test rows (evaluation.max_rows)", max_rows, len(rows))
        rows = [rows[number] for number in sorted(random.Random(seed).sample(range(len(rows)), max_rows))]
    return rows


def _parse(line: str, path: Path, number: int) -> Row:
    try:
        row = json.loads(line)
        view = view_row(row)
        strings = [view.context, view.question, *view.references]
        if not all(isinstance(text, str) for text in strings) or len(view.references) != len(view.starts):
            raise TypeError("a text is missing or has the wrong type")
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}, row {number}: not a canonical row ({type(error).__name__}: {error}). "
            "The file is written by the step that fetches the dataset: run that step again."
        ) from error
    return {"id": str(row.get("id", number)), **{key: value for key, value in row.items() if key != "id"}}


def read_dataset_fingerprint(dataset_dir: Path) -> str:
    """Fingerprint of the whole dataset, as the step that fetched it recorded it; "unknown" for one made by hand."""
    path = dataset_dir / DATASET_INFO
    if not path.is_file():
        return "unknown"
    try:
        return str(json.loads(path.read_text(encoding="utf-8")).get("fingerprint", "unknown"))
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is not readable ({error}). Run the step that fetches the dataset again.") from error
