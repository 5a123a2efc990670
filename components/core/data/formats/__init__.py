"""Reads one input file in any supported format, row by row, with row numbers and in bounded memory."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from components.core.data.formats.csv_rows import read_delimited
from components.core.data.formats.json_rows import read_json, read_jsonl
from components.core.data.formats.parquet_rows import read_parquet
from components.core.data.formats.parsed import BrokenFile, Limits, Parsed
from components.core.errors import DataError

__all__ = ["ARCHIVES", "SUFFIXES", "BrokenFile", "Limits", "Parsed", "format_of", "read_file"]

SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet"}
ARCHIVES = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".zip", ".7z", ".rar")


def format_of(name: str) -> str | None:
    """The format that a file name says, `.gz` aside; None for a name that says none.

    Raises:
        DataError: If the name is an archive's.
    """
    lower = name.lower()
    if lower.endswith(ARCHIVES):
        raise DataError(
            f"{name} is an archive; archives are not unpacked, because they can hold links and hostile paths. "
            "Extract it yourself and name the folder or file that was in it."
        )
    packed = lower.removesuffix(".gz")
    found = SUFFIXES.get(Path(packed).suffix)
    return None if found == "parquet" and packed != lower else found


def read_file(path: Path, limits: Limits, columns: Sequence[str], wanted: Collection[str]) -> Iterator[Parsed]:
    """Rows of one file.

    Args:
        path: The file; its name says the format.
        limits: Sizes that are refused.
        columns: The dataset's names of the required columns.
        wanted: The dataset's names of all columns that are used.

    Raises:
        BrokenFile: If the rest of the file cannot be read.
    """
    match format_of(path.name):
        case "jsonl":
            return read_jsonl(path, limits)
        case "json":
            return read_json(path, limits)
        case "csv":
            return read_delimited(path, limits, ",", columns)
        case "tsv":
            return read_delimited(path, limits, "\t", columns)
        case "parquet":
            return read_parquet(path, limits, wanted)
    raise DataError(f"{path.name}: unknown format; supported are {', '.join(SUFFIXES)} (text formats also as .gz).")
