"""Many requests at once over raw sockets: cheap enough not to be what is measured."""

import asyncio
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What came back for one request."""

    status: int
    body: bytes
    """Without the chunks of the transfer."""
    first_seconds: float | None
    """From sending to the first content of an answer; None if there was none."""
    last_seconds: float | None
    """To the last content; None if there was none."""
    total_seconds: float
    """To the last byte."""
    began: float = 0.0
    """On the monotonic clock."""

    def events(self) -> list[Any]:
        """The server-sent events as JSON."""
        lines = [part[6:] for part in self.body.decode().split("\n\n") if part.startswith("data: ")]
        return [json.loads(line) for line in lines if line != "[DONE]"]

    def pieces(self) -> list[str]:
        """The text of each streamed piece, of /generate or of OpenAI's chat."""
        found = []
        for event in self.events():
            choices = event.get("choices")
            text = event.get("delta") if choices is None else choices[0]["delta"].get("content") if choices else None
            if text:
                found.append(text)
        return found


class Connection(asyncio.Protocol):
    """One kept-alive connection; one request at a time.

    Args:
        marker: Bytes that the first content of an answer comes with.
    """

    def __init__(self, marker: bytes) -> None:
        self._marker = marker
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._done: asyncio.Future[None] | None = None
        self._first: float | None = None
        self._last: float | None = None
        self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up what is under way."""
        self._lost = True
        if self._done is not None and not self._done.done():
            self._done.set_exception(ConnectionResetError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        """Collect, note the first and the last content, and see the end."""
        self._received += data
        if self._marker in data:
            self._last = time.monotonic()
            self._first = self._first or self._last
        if self._done is not None and not self._done.done() and self._complete():
            self._done.set_result(None)

    async def ask(self, request: bytes) -> Reply:
        """Send a request and read its answer.

        Raises:
            ConnectionResetError: If the server hangs up before the end.
        """
        if self._lost or self._transport is None:
            raise ConnectionResetError("the server has closed the connection")
        self._received.clear()
        self._first = self._last = None
        self._done = asyncio.get_running_loop().create_future()
        began = time.monotonic()
        self._transport.write(request)
        await self._done
        ended = time.monotonic()
        head, _, body = bytes(self._received).partition(b"\r\n\r\n")
        if b"transfer-encoding: chunked" in head.lower():
            body = _join_chunks(body)
        first, last = (None if at is None else at - began for at in (self._first, self._last))
        return Reply(int(head[9:12]), body, first, last, ended - began, began)

    @property
    def partly_answered(self) -> bool:
        """Whether a part of the last answer has come."""
        return bool(self._received)

    def close(self) -> None:
        """Hang up, also in the middle of an answer."""
        if self._transport is not None:
            self._transport.abort()

    def _complete(self) -> bool:
        # only the end of a long answer is looked at for each piece
        if self._received.endswith(b"\r\n0\r\n\r\n"):
            return True
        if len(self._received) > 65536:
            return False
        head, found, body = bytes(self._received).partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), -1
        )
        return bool(found) and 0 <= length <= len(body)


async def connect(port: int, marker: bytes = b'"delta"') -> Connection:
    """Open a connection to this machine."""
    _, connection = await asyncio.get_running_loop().create_connection(lambda: Connection(marker), "127.0.0.1", port)
    return connection


async def drive(
    port: int, request: bytes, streams: int, requests: int, marker: bytes = b'"delta"', spread_seconds: float = 0.0
) -> list[Reply]:
    """Send a request many times over `streams` connections, each at once after its last answer.

    Args:
        port: On this machine.
        request: As it goes over the wire.
        streams: At once.
        requests: In all.
        marker: Bytes that the first content of an answer comes with.
        spread_seconds: The connections begin one after the other over so long.
    """
    left = requests
    replies: list[Reply] = []

    async def one(number: int) -> None:
        nonlocal left
        connection = await connect(port, marker)
        await asyncio.sleep(spread_seconds * number / streams)
        while left > 0:
            left -= 1
            replies.append(await connection.ask(request))
        connection.close()

    await asyncio.gather(*(one(number) for number in range(streams)))
    return replies


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _join_chunks(body: bytes) -> bytes:
    found: list[bytes] = []
    at = 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end], 16)
        if not size:
            return b"".join(found)
        found.append(body[end + 2 : end + 2 + size])
        at = end + 4 + size
