"""A loopback server that stands in for the endpoint or the page behind a sidecar: it says that it was reached.

It knows no path and no key; what gets through to it has been let through by the sidecar.
"""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class Application:
    """Answers 200 to everything and remembers it; use as a context manager."""

    def __init__(self) -> None:
        self.reached: list[str] = []
        """`METHOD path` of each request, in order."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        reached = self.reached

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                reached.append(f"{self.command} {self.path}")
                self.send_response(200)
                self.send_header("content-length", "7")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(b"reached")

            do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_GET

            def log_message(self, *_message: object) -> None:
                """Nothing on the terminal."""

        return Handler
