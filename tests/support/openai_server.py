"""A loopback server that stands in for vLLM or a hosted LLM: it speaks the OpenAI protocol and says what it is told.

No model runs here. It serves tests of what stands before such a server: the real clients talk to it over real HTTP, and
it can fail in the ways that such servers do.
"""

import json
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self

Mode = Literal["ok", "refuse_parameters", "status", "cut", "reset", "hang", "malformed", "html", "stream_error"]


class OpenAiServer:
    """Use as a context manager; every field may be changed while it runs.

    Args:
        reply: The answer; each word is one token and one chunk.
        model: The name in /models.
        api_key: The only key that is let in; None lets everybody in.
        mode: What goes wrong. `cut` and `reset` break off after the second token and before the first, `hang` says
            nothing after the second.
        status: Of the mode `status`.
        times: Requests that meet the mode; later ones are answered. None means all.
        retry_after: Header of the mode `status`.
        seconds_per_token: Pause before each token.
        unknown_parameters: What `refuse_parameters` refuses, the first one that it finds by name.
        hint: What the refusal of a parameter says after its name.
        max_model_len: As vLLM gives it in /models; None leaves it out.
        chat: Whether there is a chat template; without one only /completions answers.
    """

    def __init__(
        self,
        reply: str = "Paris is the answer",
        *,
        model: str = "stand-in",
        api_key: str | None = None,
        mode: Mode = "ok",
        status: int = 500,
        times: int | None = None,
        retry_after: str | None = None,
        seconds_per_token: float = 0.0,
        unknown_parameters: tuple[str, ...] = ("repetition_penalty", "top_k"),
        hint: str = "",
        max_model_len: int | None = None,
        chat: bool = True,
    ) -> None:
        self.reply, self.model, self.api_key = reply, model, api_key
        self.mode: Mode = mode
        self.status, self.times, self.retry_after = status, times, retry_after
        self.seconds_per_token, self.unknown_parameters = seconds_per_token, unknown_parameters
        self.hint, self.max_model_len, self.chat = hint, max_model_len, chat
        self.requests: list[dict[str, Any]] = []
        """Bodies of the POSTs in order, with `path` and `headers` added."""
        self.open = 0
        """Answers under way."""
        self.most_open = 0
        self.disconnects = 0
        """Answers whose client left before the end."""
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.stand_in = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        """Address for OPENAI_BASE_URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Refuse connections from now on."""
        if not self.stopping.is_set():
            self.stopping.set()
            self._server.shutdown()
            self._server.server_close()

    def take_mode(self) -> Mode:
        """What the next request meets."""
        with self.lock:
            if self.mode == "ok" or self.times == 0:
                return "ok"
            if self.times is not None:
                self.times -= 1
            return self.mode

    def enter(self, change: int) -> None:
        """Count the answers under way."""
        with self.lock:
            self.open += change
            self.most_open = max(self.most_open, self.open)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    stand_in: OpenAiServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Broken connections are what the tests ask for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' output readable."""

    def do_GET(self) -> None:
        stand_in = self.server.stand_in
        if not self._let_in():
            return
        if self.path != "/v1/models":
            return self._error(404, f"there is no {self.path}")
        if stand_in.mode == "status":
            return self._error(stand_in.status, "the server has a problem")
        extra = {} if stand_in.max_model_len is None else {"max_model_len": stand_in.max_model_len}
        models = [{"id": stand_in.model, "object": "model", "created": 0, "owned_by": "test", **extra}]
        self._send(200, json.dumps({"object": "list", "data": models}))

    def do_POST(self) -> None:
        stand_in = self.server.stand_in
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        stand_in.requests.append({**body, "path": self.path, "headers": dict(self.headers)})
        if not self._let_in():
            return
        if self.path not in ("/v1/chat/completions", "/v1/completions"):
            return self._error(404, f"there is no {self.path}")
        if body.get("model") != stand_in.model:
            return self._error(404, f"the model {body.get('model')} does not exist")
        chat = self.path == "/v1/chat/completions"
        if chat and not stand_in.chat:
            return self._error(400, "the model has no chat template")
        stand_in.enter(1)
        try:
            self._answer(body, chat, stand_in.take_mode())
        except OSError:
            with stand_in.lock:
                stand_in.disconnects += 1
            self.close_connection = True
        finally:
            stand_in.enter(-1)

    def _answer(self, body: dict[str, Any], chat: bool, mode: Mode) -> None:
        stand_in = self.server.stand_in
        refused = [name for name in stand_in.unknown_parameters if name in body]
        if mode == "refuse_parameters" and refused:
            return self._error(400, f"Unrecognized request argument supplied: {refused[0]}. {stand_in.hint}")
        if mode == "status":
            headers = {} if stand_in.retry_after is None else {"Retry-After": stand_in.retry_after}
            return self._error(stand_in.status, "the server has a problem", headers)
        if mode == "html":
            return self._send(200, "<html>a proxy's page</html>", "text/html")
        if mode == "reset":
            return self._reset()
        words = stand_in.reply.split(" ")
        tokens = [word if index == 0 else " " + word for index, word in enumerate(words)]
        limit = body.get("max_tokens") or body.get("max_completion_tokens") or len(tokens)
        reason = "stop" if len(tokens) <= limit else "length"
        tokens = tokens[:limit]
        prompt = body.get("prompt") or " ".join(message["content"] for message in body.get("messages", ()))
        usage = {
            "prompt_tokens": len(prompt.split()),
            "completion_tokens": len(tokens),
            "total_tokens": len(prompt.split()) + len(tokens),
            "prompt_tokens_details": {"cached_tokens": 0},
        }
        if not body.get("stream"):
            time.sleep(stand_in.seconds_per_token * len(tokens))
            text = "".join(tokens)
            what = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
            return self._send(200, json.dumps(self._chunk(chat, {**what, "finish_reason": reason}, usage, False)))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if chat:
            self._event(self._chunk(chat, {"delta": {"role": "assistant", "content": ""}, "finish_reason": None}))
        for index, token in enumerate(tokens):
            self._pause(stand_in.seconds_per_token)
            if index == 2 and mode not in ("ok", "refuse_parameters"):
                return self._fail(mode)
            what = {"delta": {"content": token}} if chat else {"text": token}
            self._event(self._chunk(chat, {**what, "finish_reason": None}))
        last: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
        self._event(self._chunk(chat, {**last, "finish_reason": reason}))
        if (body.get("stream_options") or {}).get("include_usage"):
            self._event(self._chunk(chat, None, usage))
        self._write("data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    def _fail(self, mode: Mode) -> None:
        if mode == "hang":
            while not self.server.stand_in.stopping.is_set():
                self._pause(0.05)
        elif mode == "malformed":
            self._write("data: {not json\n\n")
        elif mode == "stream_error":
            self._event({"error": {"message": "out of memory", "type": "internal"}})
        self._reset()

    def _pause(self, seconds: float) -> None:
        """Wait, and notice a client that has left meanwhile."""
        if not seconds:
            return
        self.connection.settimeout(seconds)
        try:
            if self.connection.recv(1, socket.MSG_PEEK) == b"":
                raise ConnectionResetError("the client has left")
        except TimeoutError:
            pass
        finally:
            self.connection.settimeout(None)

    def _chunk(
        self, chat: bool, choice: dict[str, Any] | None, usage: Any = None, streamed: bool = True
    ) -> dict[str, Any]:
        kind = ("chat.completion.chunk" if streamed else "chat.completion") if chat else "text_completion"
        return {
            "id": "answer-1",
            "object": kind,
            "created": 0,
            "model": self.server.stand_in.model,
            "choices": [] if choice is None else [{"index": 0, **choice}],
            "usage": usage,
        }

    def _event(self, value: dict[str, Any]) -> None:
        self._write(f"data: {json.dumps(value)}\n\n")

    def _write(self, text: str) -> None:
        content = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))

    def _let_in(self) -> bool:
        if self.server.stand_in.stopping.is_set():
            # a connection that was kept alive
            self._reset()
            return False
        key = self.server.stand_in.api_key
        if key is None or self.headers.get("Authorization") == f"Bearer {key}":
            return True
        self._error(401, f"Incorrect API key provided: {self.headers.get('Authorization')}")
        return False

    def _error(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        error = {"message": message, "type": "error", "param": None, "code": None}
        self._send(status, json.dumps({"error": error}), headers=headers)

    def _send(
        self, status: int, text: str, kind: str = "application/json", headers: dict[str, str] | None = None
    ) -> None:
        content = text.encode()
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _reset(self) -> None:
        # a reset rather than an orderly end, so that the client meets a broken connection
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
