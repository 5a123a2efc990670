"""A scripted OpenAI-compatible service on loopback, for drills: no model runs in it.

It stands in for the hosted LLM behind the endpoint: it answers every prompt with the same words, and fails on command
in the ways in which such services fail.
"""

import asyncio
import contextlib
import json
import time
from typing import Any, Literal, get_args

Mode = Literal["ok", "refused", "429", "5xx", "hang", "cut"]
OUTAGES = [mode for mode in get_args(Mode) if mode != "ok"]
MODEL = "scripted-service"
WORDS = ["The", "scripted", "service", "says", "the", "same", "words", "to", "every", "prompt"]
_CUT_AFTER = 3


class ScriptedService:
    """Use as an asynchronous context manager; `switch` changes what goes wrong.

    Args:
        seconds_per_token: Pause before each word.
        retry_after: Header of a 429, in seconds.
    """

    def __init__(self, seconds_per_token: float = 0.03, retry_after: int = 3) -> None:
        self._pace, self._retry_after = seconds_per_token, retry_after
        self.mode: Mode = "ok"
        self.calls: list[float] = []
        """When each request for an answer came; connections that were refused are not seen here."""
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.port = 0

    @property
    def url(self) -> str:
        """Address for OPENAI_BASE_URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> "ScriptedService":
        await self._listen()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._close()

    async def switch(self, mode: Mode) -> None:
        """From now on this goes wrong; what is under way is cut where the mode is `refused`."""
        before, self.mode = self.mode, mode
        if mode == "refused":
            await self._close()
        elif before == "refused":
            await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(
                    (int(line[15:]) for line in head.lower().split("\r\n") if line.startswith("content-length:")), 0
                )
                body = await reader.readexactly(length)
                if head.startswith("GET"):
                    _send(writer, 200, {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0}]})
                else:
                    self.calls.append(time.monotonic())
                    await self._answer(writer, json.loads(body))
                await writer.drain()
        self._open.discard(writer)
        writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        mode = self.mode
        error = {"error": {"message": "the scripted service fails on command", "type": "server_error"}}
        if mode == "429":
            return _send(writer, 429, error, f"Retry-After: {self._retry_after}\r\n")
        if mode == "5xx":
            return _send(writer, 500, error)
        if mode == "hang":
            await asyncio.sleep(3600)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        limit = body.get("max_tokens") or len(WORDS)
        for number, word in enumerate(WORDS[:limit]):
            await asyncio.sleep(self._pace)
            if mode == "cut" and number == _CUT_AFTER:
                writer.transport.abort()
                return None
            text = word if number == 0 else f" {word}"
            what = {"delta": {"content": text}} if "messages" in body else {"text": text}
            _event(writer, [{"index": 0, **what, "finish_reason": None}])
            await writer.drain()
        last: dict[str, Any] = {"delta": {}} if "messages" in body else {"text": ""}
        _event(writer, [{"index": 0, **last, "finish_reason": "stop"}])
        prompt = json.dumps(body.get("messages") or body.get("prompt"))
        usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": len(WORDS[:limit])}
        _event(writer, [], usage | {"total_tokens": sum(usage.values())})
        _chunk(writer, b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")
        return None


def _send(writer: asyncio.StreamWriter, status: int, content: Any, headers: str = "") -> None:
    body = json.dumps(content).encode()
    head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    writer.write(head.encode() + body)


def _event(writer: asyncio.StreamWriter, choices: list[Any], usage: Any = None) -> None:
    value = {"id": "answer", "object": "chat.completion.chunk", "created": 0, "model": MODEL, "choices": choices}
    _chunk(writer, b"data: " + json.dumps(value | {"usage": usage}).encode() + b"\n\n")


def _chunk(writer: asyncio.StreamWriter, content: bytes) -> None:
    writer.write(b"%x\r\n%s\r\n" % (len(content), content))
