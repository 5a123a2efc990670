"""A stand-in for a LangSmith server on loopback: what the real client sends is kept, and it can misbehave."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit

Mode = Literal["ok", "hang", "429", "500", "503", "401", "slow", "redirect", "drop"]
PROJECT_ID = "11111111-2222-4333-8444-555555555555"


class LangSmithServer:
    """What was received, and how the server behaves now."""

    def __init__(self) -> None:
        self.mode: Mode = "ok"
        self.retry_after = "0"
        self.multipart = True
        """False answers 404 there, as servers from before 2024 do."""
        self.requests: list[tuple[str, str]] = []
        """Method and path of every call."""
        self.runs: dict[str, dict[str, Any]] = {}
        """Runs by id."""
        self.feedback: dict[str, dict[str, Any]] = {}
        self.raw: list[bytes] = []
        """Every byte that came in: request lines, headers and bodies."""
        self.keys: set[str | None] = set()
        self.released = threading.Event()
        """Set at the end, so that hanging calls do not outlive the test."""

        class Handler(_Handler):
            owner = self

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections from now on."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def trace(self, trace_id: Any) -> dict[str, dict[str, Any]]:
        """The runs of one trace by name."""
        return {run["name"]: run for run in self.runs.values() if run["trace_id"] == str(trace_id)}

    def take(self, path: str, headers: Any, body: bytes) -> None:
        """Keep what a call brought."""
        if headers.get("Content-Encoding") == "zstd":
            import zstandard

            body = zstandard.ZstdDecompressor().decompressobj().decompress(body)
        if path == "/runs/multipart":
            self._take_parts(headers["Content-Type"], body)
        elif path == "/runs/batch":
            self.runs |= {run["id"]: run for run in json.loads(body)["post"]}
        elif path == "/feedback":
            feedback = json.loads(body)
            self.feedback[feedback["id"]] = feedback

    def _take_parts(self, content_type: str, body: bytes) -> None:
        message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
        runs: dict[str, dict[str, Any]] = {}
        for part in message.iter_parts():
            operation, run_id, *name = str(part.get_param("name", header="Content-Disposition")).split(".")
            value = json.loads(part.get_payload(decode=True) or b"null")
            assert operation == "post", operation
            runs.setdefault(run_id, {}).update({name[0]: value} if name else value)
        self.runs |= runs


class _Handler(BaseHTTPRequestHandler):
    owner: LangSmithServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' output readable."""

    def do_GET(self) -> None:
        """Answer GET and POST."""
        path = urlsplit(self.path).path
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.owner.requests.append((self.command, path))
        self.owner.raw.append(f"{self.requestline}\n{self.headers}".encode() + body)
        self.owner.keys.add(self.headers.get("x-api-key"))
        mode = self.owner.mode
        if mode == "hang":
            self.owner.released.wait(60)
            self.close_connection = True
        elif mode == "drop":
            self.close_connection = True
        elif mode == "redirect":
            self._answer(307, {}, {"Location": f"{self.owner.address}/elsewhere"})
        elif mode.isdigit():
            self._answer(int(mode), {"detail": "no"}, {"Retry-After": self.owner.retry_after} if mode == "429" else {})
        elif path == "/runs/multipart" and not self.owner.multipart:
            self._answer(404, {"detail": "Not Found"})
        else:
            if mode == "slow":
                self.owner.released.wait(0.5)
            self.owner.take(path, self.headers, body)
            ids = {"id": PROJECT_ID, "tenant_id": PROJECT_ID, "reference_dataset_id": None}
            project = ids | {"name": "project", "start_time": "2026-01-01T00:00:00Z"}
            answers: dict[str, Any] = {"/info": {"version": "0.12.0"}, "/sessions": [project]}
            self._answer(200 if self.command == "GET" else 202, answers.get(path, {}))

    do_POST = do_GET

    def _answer(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        for name, text in ({"Content-Length": str(len(content))} | (headers or {})).items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def langsmith_server() -> Iterator[LangSmithServer]:
    """A running stand-in."""
    server = LangSmithServer()
    try:
        yield server
    finally:
        server.stop()
