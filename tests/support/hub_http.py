"""The transport of the stand-in Hub: reading requests, answering them, and the faults on the way."""

import json
import re
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

Route = tuple[str, str, Callable[..., None]]
"""Methods, pattern of the whole path, and the handler's method that answers."""


@dataclass
class Fault:
    """Something that goes wrong with the next `times` matching requests."""

    mode: Literal["status", "cut", "lost_reply", "slow"]
    status: int
    times: int
    path: str
    method: str
    seconds: float


class HttpError(Exception):
    """Answered with this status, in the Hub's way of telling errors."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        self.status, self.message, self.code = status, message, code


class QuietServer(ThreadingHTTPServer):
    """A threaded server that knows its Hub and does not print the connections that tests cut."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], hub: Any) -> None:
        super().__init__(address, handler)
        self.hub = hub

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Broken connections are what the tests ask for."""


class RequestHandler(BaseHTTPRequestHandler):
    """One request to the stand-in Hub; `routes` are tried in order."""

    routes: Sequence[Route] = ()
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' output readable."""

    def do_GET(self) -> None:
        """Answer GET."""
        self._answer()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def _answer(self) -> None:
        self.hub = self.server.hub  # type: ignore[attr-defined]
        scheme, _, token = (self.headers.get("Authorization") or "").partition(" ")
        self.token = token if scheme.lower() == "bearer" else None
        parts = urlsplit(self.path)
        self.query = parse_qs(parts.query)
        path = unquote(parts.path)
        self.fault = self.hub.take_request(self.command, path, self.token)
        length = int(self.headers.get("Content-Length") or 0)
        if self.fault and self.fault.mode == "cut" and self.command in ("POST", "PUT"):
            self.rfile.read(length // 2)
            return self._hang_up()
        chunked = self.headers.get("Transfer-Encoding") == "chunked"
        self.body = self._read_chunks() if chunked else self.rfile.read(length)
        try:
            if self.fault and self.fault.mode == "status":
                raise HttpError(self.fault.status, "the server has a problem")
            if self.token is not None and self.token not in self.hub.tokens:
                raise HttpError(401, "Invalid credentials in Authorization header")
            for method, pattern, route in self.routes:
                match = re.fullmatch(pattern, path)
                if match and self.command in method:
                    return route(self, **match.groupdict())
            raise HttpError(404, f"the stand-in Hub has no {self.command} {path}")
        except HttpError as error:
            headers = {"X-Error-Message": error.message} | ({"X-Error-Code": error.code} if error.code else {})
            self._json({"error": error.message}, error.status, headers)

    def _read_chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _hang_up(self) -> None:
        # a reset rather than an orderly end, so that the client meets a broken connection
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _send(self, content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        if self.fault and self.fault.mode == "lost_reply":
            return self._hang_up()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.fault and self.fault.mode == "cut":
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        self.wfile.write(content)

    def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(value).encode(), status, {"Content-Type": "application/json"} | (headers or {}))
