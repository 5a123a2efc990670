"""Bytes and lines of one input file, plain or gzip, in bounded memory."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from components.core.data.formats.parsed import BrokenFile, Limits

GZIP_MAGIC = b"\x1f\x8b"
SUSPICIOUS_RATIO = 200
"""Text packs 3 to 30 times; gzip's own maximum, reached by one repeated byte only, is about 1030."""
SUSPICIOUS_FROM_BYTES = 16 * 2**20
_BUFFER_BYTES = 2**18
_MAGIC = (
    (b"PK\x03\x04", "a zip or xlsx file"),
    (b"PK\x05\x06", "a zip file"),
    (b"PAR1", "a Parquet file"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
    (b"%PDF", "a PDF"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstandard file"),
    (b"ARROW1", "an Arrow file"),
    (b"SQLite format 3", "a SQLite file"),
    (b"version https://git-lfs", "a Git LFS pointer instead of the data (run `git lfs pull`)"),
)


class CappedReader(io.RawIOBase):
    """A raw stream that refuses to unpack more than the limits allow."""

    def __init__(self, source: BinaryIO | gzip.GzipFile, limits: Limits, packed_bytes: int | None) -> None:
        self._source = source
        self._limits = limits
        self._packed_bytes = packed_bytes
        self._seen = 0

    def readable(self) -> bool:
        """True: the stream can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes.

        Raises:
            BrokenFile: If the file is larger than allowed, unpacks suspiciously, or its gzip stream is damaged.
        """
        try:
            data = self._source.read(len(buffer))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise BrokenFile(
                "incomplete_file", f"the compressed file is incomplete or damaged ({error}); copy or download it again"
            ) from error
        self._seen += len(data)
        if self._seen > self._limits.file_bytes:
            raise BrokenFile(
                "file_too_large",
                f"the file is longer than {self._limits.file_bytes:,} bytes when unpacked; "
                "split it, or raise data.max_file_bytes",
            )
        if (
            self._packed_bytes is not None
            and self._seen > SUSPICIOUS_FROM_BYTES
            and self._seen > SUSPICIOUS_RATIO * self._packed_bytes
        ):
            raise BrokenFile(
                "gzip_bomb",
                f"the compressed file unpacks to more than {SUSPICIOUS_RATIO} times its size "
                f"({self._packed_bytes:,} bytes packed): no text does; it is refused as a decompression bomb",
            )
        buffer[: len(data)] = data
        return len(data)


def check_magic(head: bytes) -> None:
    """Refuse content that is plainly not text rows.

    Raises:
        BrokenFile: If the first bytes belong to another kind of file.
    """
    for magic, what in _MAGIC:
        if head.startswith(magic):
            raise BrokenFile("wrong_format", f"the content looks like {what}, not like the format that the name says")
    if head[257:262] == b"ustar":
        raise BrokenFile(
            "archive",
            "the content is a tar archive; archives are not unpacked: extract it yourself and name the folder",
        )
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:64].lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")):
        raise BrokenFile(
            "looks_like_html",
            "the content looks like an HTML or XML page, not like data rows (an error page that was saved?)",
            row=1,
        )


Stream: TypeAlias = "io.BufferedReader[CappedReader]"


@contextmanager
def open_bytes(path: Path, limits: Limits) -> Iterator[Stream]:
    """Open a file for reading, unpacking gzip by its name, with the byte order mark removed.

    Raises:
        BrokenFile: If name and content disagree, or the content is not text.
    """
    with path.open("rb") as packed:
        has_magic = packed.read(2) == GZIP_MAGIC
        packed.seek(0)
        named_gzip = path.name.lower().endswith(".gz")
        if named_gzip and not has_magic and path.stat().st_size:
            raise BrokenFile("wrong_format", "the name ends in .gz but the content is not gzip; rename it or pack it")
        if has_magic and not named_gzip:
            raise BrokenFile("wrong_format", "the content is gzip; add .gz to the file's name")
        source = gzip.GzipFile(fileobj=packed) if named_gzip else packed
        size = path.stat().st_size if named_gzip else None
        stream = io.BufferedReader(CappedReader(source, limits, size), _BUFFER_BYTES)
        head = stream.peek(512)[:512]
        check_magic(head)
        if head.startswith(b"\xef\xbb\xbf"):
            stream.read(3)
        yield stream


def read_lines(stream: Stream, max_bytes: int) -> Iterator[tuple[int, bytes | None]]:
    """Lines with their number from 1; None for a line longer than `max_bytes`, which is skipped without being held.

    Only LF ends a line (a CR before it is left in): U+2028 and U+0085 are text.
    """
    number = 0
    while line := stream.readline(max_bytes + 1):
        number += 1
        if len(line) > max_bytes and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = stream.readline(_BUFFER_BYTES)
            yield number, None
        else:
            yield number, line
