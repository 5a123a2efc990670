"""The first rows of a file in full."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from components.core.data.formats import Limits, Parsed, format_of, read_file
from components.core.data.naming import printable
from components.core.data.sources.local import find_local
from components.core.errors import DataError
from components.core.recipe import DataConfig

ROWS = 5


def preview(path: Path, rows: int = ROWS) -> Iterator[str]:
    """The first rows of a file, each as a block of printable text; a row that cannot be read says why.

    Args:
        path: A file of any supported format.
        rows: How many.

    Raises:
        StorageError: If there is no such file.
        DataError: If its format is not supported, or the file is broken.
    """
    real = find_local(path, "the path")
    if real.is_dir() or format_of(real.name) is None:
        raise DataError(f"cannot show {printable(str(path))}: name one file ending in .jsonl, .json, .csv or .parquet.")
    limits = Limits(DataConfig().max_file_bytes, DataConfig().max_row_bytes)
    read = (each for each in read_file(real, limits, [], _all_columns(real)) if each.row)
    for parsed in islice(read, rows):
        yield f"{printable(path.name)}, row {parsed.row}:\n{_shown(parsed)}"


def _shown(parsed: Parsed) -> str:
    if parsed.value is None:
        return "  " + "; ".join(finding.message for finding in parsed.findings)
    text = json.dumps(parsed.value, ensure_ascii=False, indent=2, default=str)
    # a terminal must not obey what a row says
    return "".join(each if each.isprintable() or each == "\n" else ascii(each)[1:-1] for each in text)


def _all_columns(path: Path) -> list[str]:
    """Names of the columns of a parquet file, of which only wanted ones are read."""
    if format_of(path.name) != "parquet":
        return []
    import pyarrow
    import pyarrow.parquet

    try:
        return list(pyarrow.parquet.read_schema(path).names)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise DataError(f"cannot show {printable(path.name)}: it is not a parquet file ({error}).") from error
