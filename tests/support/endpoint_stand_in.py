"""The endpoint's HTTP contract on loopback, with a mode for everything that can go wrong."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from support.predicting_stand_in import NAME, predictions, task_body

TRACE_ID = "0f1d9c5e-6f57-4c7b-9d3e-2b1a4f0c8d11"
NGINX_PAGE = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1>nginx</body></html>"


class EndpointStandIn:
    """Answers every question with `answer` where the context holds it.

    With a `task` other than context_qa it predicts instead, by the rules of predicting_stand_in.

    Use it as a context manager. `mode` may be changed at any time:

    answer          the answer, streamed in pieces
    error_midway    two pieces, then an error event
    cut             two pieces, then the connection ends
    slow            a piece every 0.1 s, without end; `hung_up` is set when the caller leaves
    silent          no answer at all while the mode lasts
    warming         503 with Retry-After; /healthz says warming
    busy            429 with Retry-After
    rejected, too_large, timeout, failed
                    400, 413, 504, 500 in the endpoint's own JSON
    html            502 with nginx's page
    denied          403 in Istio's plain text
    login           302 to a login page
    page            200 with an HTML page
    forgetful       /feedback answers 404
    """

    def __init__(
        self, answer: str = "Mark Kraltosund", api_key: str | None = None, task: str = "context_qa", pair: bool = False
    ) -> None:
        self.answer = answer
        self.api_key = api_key
        self.task = task
        self.pair = pair
        self.mode = "answer"
        self.predicted: list[dict[str, Any]] = []
        """Bodies of predictions that were asked for."""
        self.questions: list[dict[str, Any]] = []
        """Bodies of POST /generate."""
        self.feedback: list[dict[str, Any]] = []
        """Bodies of POST /feedback."""
        self.hung_up = threading.Event()
        self._port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.mode = "answer"
        self.stop()

    @property
    def url(self) -> str:
        """Address; the same before and after a stop."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listen, on the same port as before."""
        handler = type("Handler", (_Handler,), {"stand_in": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), handler)
        self._server.daemon_threads = True
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening: connections are refused from now on."""
        self._server.shutdown()
        self._server.server_close()

    def final(self, context: str) -> dict[str, Any]:
        """The complete answer; its spans are all places of the answer in the context."""
        starts = [i for i in range(len(context)) if context.startswith(self.answer, i)]
        return {
            "response": self.answer if starts else "not in the context",
            "supported": bool(starts),
            "spans": [{"start": start, "end": start + len(self.answer)} for start in starts],
            "trace_id": TRACE_ID,
            "model": "starter-context-qa",
            "revision": "1",
            "usage": {"prompt_tokens": 57, "completion_tokens": 4, "cached_tokens": 48},
            "latency_seconds": 0.42,
            "time_to_first_token_seconds": 0.11,
        }


class _Handler(BaseHTTPRequestHandler):
    stand_in: EndpointStandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Keep test output clean."""

    def do_GET(self) -> None:
        """/healthz, /task and /v1/models."""
        if self.path == "/healthz":
            self._send(200, self._health())
        elif self.stand_in.mode == "warming":
            self._send(503, {"error": "warming: the model is being loaded"})
        elif self.path == "/task":
            self._send(200, task_body(self.stand_in.task, self.stand_in.pair))
        elif self.path == "/v1/models":
            self._send(200, {"models": [NAME]})
        else:
            self._send(404, {"error": "not found"})

    def do_POST(self) -> None:
        """/generate, /feedback and predictions."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.stand_in.api_key
        if key and self.headers.get("Authorization") != f"Bearer {key}":
            self._send(401, {"error": "a valid API key is needed"})
        elif self.path == f"/v1/models/{NAME}:predict":
            self.stand_in.predicted.append(body)
            if not self._refused():
                self._send(200, predictions(self.stand_in.task, body["instances"]))
        elif self.path == "/openai/v1/chat/completions":
            self.stand_in.questions.append(body)
            if not self._refused():
                said = f"You said <b>{body['messages'][-1]['content']}</b>"
                self._send(200, {"choices": [{"index": 0, "message": {"role": "assistant", "content": said}}]})
        elif self.path == "/generate":
            self.stand_in.questions.append(body)
            self._generate(body)
        elif self.stand_in.mode == "forgetful":
            self._send(404, {"error": "unknown trace"})
        else:
            self.stand_in.feedback.append(body)
            self._send(200, {"stored": body["consent"], "detail": "Feedback received."})

    def _health(self) -> dict[str, str]:
        status = "warming" if self.stand_in.mode == "warming" else "ready"
        return {
            "status": status,
            "model": task_body(self.stand_in.task)["model"],
            "revision": "1",
            "engine": "openvino",
            "detail": "",
        }

    def _refused(self) -> bool:
        refusals: dict[str, Callable[[], None]] = {
            "warming": lambda: self._send(503, {"error": "the model is warming up"}, {"Retry-After": "5"}),
            "busy": lambda: self._send(429, {"error": "the queue is full"}, {"Retry-After": "7"}),
            "rejected": lambda: self._send(400, {"error": "the prompt has 900 tokens; 512 fit"}),
            "too_large": lambda: self._send(413, {"error": "the body is over 2 MiB"}),
            "timeout": lambda: self._send(504, {"error": "no answer within 120 s"}),
            "failed": lambda: self._send(500, {"error": "the engine failed"}),
            "html": lambda: self._send(502, NGINX_PAGE),
            "denied": lambda: self._send(403, "RBAC: access denied"),
            "login": lambda: self._send(302, "", {"Location": "/dex/auth"}),
            "page": lambda: self._send(200, "<html><body>Welcome</body></html>"),
            "silent": self._say_nothing,
        }
        if refusal := refusals.get(self.stand_in.mode):
            refusal()
            return True
        return False

    def _generate(self, body: dict[str, Any]) -> None:
        if self._refused():
            return
        final = self.stand_in.final(body["context"])
        if not body.get("stream"):
            self._send(200, final)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            self._stream(final)
        except ConnectionError:
            self.stand_in.hung_up.set()
        self.close_connection = True

    def _stream(self, final: dict[str, Any]) -> None:
        words = final["response"].split(" ")
        pieces = [words[0], *(f" {word}" for word in words[1:])]
        mode = self.stand_in.mode
        if mode == "slow":
            while self.stand_in.mode == "slow":
                self._event({"delta": "word "})
                time.sleep(0.1)
        for piece in pieces[: 2 if mode in ("error_midway", "cut") else None]:
            self._event({"delta": piece})
            time.sleep(0.02)
        if mode == "error_midway":
            self._event({"error": "the engine failed after 2 tokens"})
        elif mode != "cut":
            self._event(final)

    def _event(self, data: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode())
        self.wfile.flush()

    def _say_nothing(self) -> None:
        while self.stand_in.mode == "silent":
            time.sleep(0.02)
        self.close_connection = True

    def _send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        is_text = isinstance(content, str)
        data = content.encode() if is_text else json.dumps(content).encode()
        kind = "application/json" if not is_text else "text/html" if content.startswith("<") else "text/plain"
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
