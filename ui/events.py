"""Server-sent events, read from bytes in any chunks."""

from collections.abc import Iterable, Iterator


def read_events(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield the data of each event in order.

    Lines end with LF or CRLF and nothing else: an answer may hold U+2028 and the like, at which `str.splitlines` (and
    so httpx's `iter_lines`) would cut it. Comments and fields other than `data` are skipped; an event that the end of
    the stream cuts off before its empty line still counts.
    """
    data: list[str] = []
    for line in _lines(chunks):
        if not line:
            if data:
                yield "\n".join(data)
            data = []
        elif line == b"data" or line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" ").decode("utf-8", errors="replace"))
    if data:
        yield "\n".join(data)


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r")
    if rest:
        yield rest.removesuffix(b"\r")
