"""A loopback server that stands in for the three service LLMs: it speaks their protocols and says what a script says.

No model runs here. The real client libraries talk to it over real HTTP; it counts what it is asked, and when.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Headers = dict[str, str]


@dataclass(frozen=True)
class Fault:
    """What is answered instead of text."""

    status: int = 500
    message: str = "the service has a problem"
    headers: Headers = field(default_factory=dict)
    seconds: float = 0.0
    """Pause before it."""
    cut: bool = False
    """End the connection without an answer."""


@dataclass(frozen=True)
class Call:
    """One request as it came in."""

    time: float
    path: str
    headers: Headers
    body: dict[str, Any]
    prompt: str
    """All texts of the messages, one after the other."""


Script = Callable[[Call, int], "str | Fault"]
"""From a request and its number, from 0, to the answer."""


class ServiceLLMServer:
    """Use as a context manager; `script` may be changed while it runs."""

    def __init__(self, script: Script | str = "{}", *, seconds: float = 0.0) -> None:
        self.script: Script = (lambda _call, _number: script) if isinstance(script, str) else script
        self.seconds = seconds
        """Pause before each answer."""
        self.calls: list[Call] = []
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._server.stand_in = self  # type: ignore[attr-defined]

    def url(self, provider: str = "openai") -> str:
        """The provider's `base_url`."""
        return f"http://127.0.0.1:{self._server.server_port}" + ("/v1" if provider == "openai" else "")

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' output readable."""

    def do_POST(self) -> None:
        stand_in: ServiceLLMServer = self.server.stand_in  # type: ignore[attr-defined]
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with stand_in.lock:
            call = Call(time.monotonic(), self.path, headers, body, "\n".join(_texts(body)))
            stand_in.calls.append(call)
            number = len(stand_in.calls) - 1
        answer = stand_in.script(call, number)
        time.sleep(stand_in.seconds)
        if isinstance(answer, Fault):
            time.sleep(answer.seconds)
            if answer.cut:
                self.close_connection = True
                return
            error = {"message": answer.message, "type": "error", "code": answer.status, "status": "FAILED"}
            return self._send(answer.status, {"type": "error", "error": error}, answer.headers)
        return self._send(200, _ANSWERS[_protocol(self.path)](answer), {})

    def _send(self, status: int, value: Any, headers: Headers) -> None:
        content = json.dumps(value).encode()
        try:
            self.send_response(status)
            for name, text in {
                "Content-Type": "application/json",
                "Content-Length": str(len(content)),
                **headers,
            }.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            self.close_connection = True


def _protocol(path: str) -> str:
    if path == "/v1/chat/completions":
        return "openai"
    return "anthropic" if path == "/v1/messages" else "gemini"


def _texts(body: dict[str, Any]) -> list[str]:
    """Texts of the prompt, whatever the protocol."""
    found: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            found.extend(text for key in ("text", "content") if isinstance(text := value.get(key), str))
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    if isinstance(body.get("system"), str):
        found.append(body["system"])
    for key in ("system", "systemInstruction", "messages", "contents"):
        walk(body.get(key))
    return found


def _openai(text: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


def _anthropic(text: str) -> dict[str, Any]:
    return {
        **{"id": "1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn"},
        "content": [{"type": "text", "text": text}],
        "usage": {"input_tokens": 100, "output_tokens": 10},
    }


def _gemini(text: str) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP", "index": 0}
    counts = {"promptTokenCount": 100, "candidatesTokenCount": 10, "totalTokenCount": 110}
    return {"candidates": [candidate], "usageMetadata": counts, "modelVersion": "m"}


_ANSWERS = {"openai": _openai, "anthropic": _anthropic, "gemini": _gemini}
