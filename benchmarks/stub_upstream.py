"""An OpenAI-compatible server that computes nothing, for what stands before one: raw asyncio, as cheap as can be.

    python -m benchmarks.stub_upstream --port N --tokens N --pace SECONDS

Every chat completion is streamed: the first token at once, one more every `pace` seconds, one chunk per token as such
servers do.
"""

import argparse
import asyncio
import json
from typing import Any

from benchmarks.fixed_answer import answer_pieces

_MODEL = "stub"
_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n"
    b"Cache-Control: no-cache\r\n\r\n"
)


def _chunked(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


def _event(choices: list[dict[str, Any]], usage: Any = None) -> bytes:
    value = {
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": _MODEL,
        "choices": choices, "usage": usage,
    }  # fmt: skip
    return _chunked(b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n")


def _choice(delta: dict[str, str], reason: str | None = None) -> list[dict[str, Any]]:
    return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]


class _Script:
    """The bytes of an answer, made once."""

    def __init__(self, pieces: list[str], pace_seconds: float) -> None:
        self.pace_seconds = pace_seconds
        self.pieces = [_event(_choice({"content": piece})) for piece in pieces]
        self.pieces[0] = _HEAD + _event(_choice({"role": "assistant", "content": ""})) + self.pieces[0]
        usage = {"prompt_tokens": 600, "completion_tokens": len(pieces), "total_tokens": 600 + len(pieces)}
        self.end = _event(_choice({}, "stop")) + _event([], usage) + _chunked(b"data: [DONE]\n\n") + b"0\r\n\r\n"
        models = json.dumps({"object": "list", "data": [{"id": _MODEL, "object": "model", "created": 0}]}).encode()
        self.models = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
            len(models), models
        )  # fmt: skip


class _Connection(asyncio.Protocol):
    def __init__(self, script: _Script) -> None:
        self._script, self._received = script, b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        if len(rest) < length:
            return
        self._received = rest[length:]
        if head.startswith(b"GET"):
            self._transport.write(self._script.models)
        else:
            self._say(0, self._loop.time())

    def _say(self, number: int, due: float) -> None:
        if self._transport.is_closing():
            return
        script = self._script
        last = number + 1 == len(script.pieces)
        self._transport.write(script.pieces[number] + (script.end if last else b""))
        if not last:
            due += script.pace_seconds
            self._loop.call_at(due, self._say, number + 1, due)


async def serve(port: int, tokens: int, pace_seconds: float) -> None:
    """Listen until the process ends."""
    script = _Script(answer_pieces(tokens), pace_seconds)
    server = await asyncio.get_running_loop().create_server(
        lambda: _Connection(script), "127.0.0.1", port, backlog=1024
    )
    await server.serve_forever()


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--pace", type=float, required=True)
    given = parser.parse_args()
    asyncio.run(serve(given.port, given.tokens, given.pace))


if __name__ == "__main__":
    main()
