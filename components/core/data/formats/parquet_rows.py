"""Rows of Parquet files, a batch at a time and only the columns that are needed."""

from collections.abc import Collection, Iterator
from pathlib import Path

from components.core.data.formats.class_names import name_classes, read_class_names, remark_names
from components.core.data.formats.lines import SUSPICIOUS_FROM_BYTES
from components.core.data.formats.parsed import BrokenFile, Limits, Parsed

_BATCH_ROWS = 1024
_SUSPICIOUS_RATIO = 5000
"""Dictionary encoding packs repeated contexts far better than gzip does."""


def read_parquet(path: Path, limits: Limits, wanted: Collection[str]) -> Iterator[Parsed]:
    """Rows with the wanted columns that the file has (with all columns if it has none of them).

    Raises:
        BrokenFile: If the file is incomplete, damaged, or larger than allowed when unpacked.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            metadata = file.metadata
            groups = [metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups)]
            _check_size(sum(groups), path.stat().st_size, limits)
            columns = [name for name in file.schema_arrow.names if name in wanted] or None
            names = read_class_names(file.schema_arrow.metadata)
            names = {name: classes for name, classes in names.items() if name in (columns or ())}
            if names:
                yield remark_names(names)
            row = 0
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
                for value in batch.to_pylist():
                    row += 1
                    yield Parsed(row, name_classes(value, names))
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise BrokenFile(
            "incomplete_file", f"not a complete Parquet file ({reason}); copy or download it again"
        ) from error


def _check_size(unpacked: int, packed: int, limits: Limits) -> None:
    if unpacked > limits.file_bytes:
        raise BrokenFile(
            "file_too_large",
            f"{unpacked:,} bytes when unpacked, over {limits.file_bytes:,}; split it, or raise data.max_file_bytes",
        )
    if unpacked > SUSPICIOUS_FROM_BYTES and unpacked > _SUSPICIOUS_RATIO * packed:
        raise BrokenFile("compression_bomb", f"{packed:,} bytes claim to unpack to {unpacked:,}; refused")
