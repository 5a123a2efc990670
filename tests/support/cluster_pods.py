"""Pods of an endpoint's deployments and the kubelet that gives them their keys, in place of a cluster's.

A pod here is a loopback server that stands in for our own: it has no model and answers with its name at once, but who
may ask is decided by the endpoint's own code (llm_endpoint.web.auth) on files as a mounted Secret has them. The kubelet
writes those files when a Secret is made, and again when a pod is changed; its own look once a minute is left out.
"""

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from llm_endpoint.errors import Unauthorized
from llm_endpoint.settings import Settings
from llm_endpoint.web.auth import ApiKeys
from support.kube_state import KubeServer, Object


class Kubelet:
    """Keeps a folder of key files up to date with a Secret.

    Args:
        folder: Of the files.
        state: The cluster.
        secret: Name.
    """

    def __init__(self, folder: Path, state: KubeServer, secret: str) -> None:
        self.folder, self._state, self._secret = folder, state, secret
        folder.mkdir(parents=True, exist_ok=True)
        state.on_change.append(self._react)

    def _react(self, _state: KubeServer, event: str, document: Object) -> None:
        made = document.get("kind") == "Secret" and event == "ADDED" and document["metadata"]["name"] == self._secret
        if made or (document.get("kind") == "Pod" and event == "MODIFIED"):
            self._mount()

    def _mount(self) -> None:
        for name, value in ((self._state.find("Secret", self._secret) or {}).get("data") or {}).items():
            (self.folder / name).write_bytes(base64.b64decode(value))


class Pod:
    """One deployment's server; use as a context manager."""

    def __init__(self, name: str, keys: Kubelet) -> None:
        self.name, self._keys_folder, self._keys = name, keys.folder, None
        self.delay, self.status = 0.0, 200
        self.seen: list[dict[str, str]] = []
        """Headers of each request that was let in."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def check(self, headers: Any) -> None:
        # a pod starts when its keys are there
        self._keys = self._keys or ApiKeys(Settings(api_keys_dir=self._keys_folder))
        self._keys.check({name.lower().encode(): value.encode() for name, value in headers.items()})

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        pod = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
                try:
                    pod.check(self.headers)
                except Unauthorized as error:
                    self._send(401, {"error": str(error)})
                    return
                pod.seen.append(dict(self.headers.items()))
                if self.command == "POST":
                    time.sleep(pod.delay)
                self._send(
                    pod.status if self.command == "POST" else 200, {"from": pod.name, "path": self.path, "body": body}
                )

            do_POST = do_GET

            def _send(self, status: int, content: Object) -> None:
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_message: object) -> None:
                """Nothing on the terminal."""

        return Handler
