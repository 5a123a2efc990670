"""The guards around every route: keys, body limit, callers that leave, draining, and one shape of error."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from llm_endpoint.errors import EndpointError, InvalidInput, NotFound, NotReady, TooLarge
from llm_endpoint.metrics import Metrics
from llm_endpoint.web.auth import ApiKeys

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_OPEN = ("/healthz", "/readyz", "/metrics", "/v2/health/", "/docs", "/openapi.json", "/favicon.ico")
"""Paths without a key: probes, scraping and the page; none of them shows a request."""
_REMOVED = ("/v2/repository/",)
"""KServe's load and unload would let any caller take the model away; nothing explains."""
_ROUTES = (
    "/generate",
    "/score",
    "/feedback",
    "/task",
    "/v1/load_lora_adapter",
    "/v1/unload_lora_adapter",
    "/openai/v1/models",
    "/openai/v1/chat/completions",
    "/openai/v1/completions",
    "/v1/models",
    "/v2/models",
    *_OPEN,
)
_BODY_SECONDS = 30.0
"""A body that arrives slower than this is given up."""


class Guards:
    """ASGI middleware in front of the whole application.

    Args:
        app: The application.
        keys: Who may come in.
        max_body_bytes: Largest body.
        draining: True once the server is to stop; new requests are refused then.
    """

    def __init__(
        self,
        app: Callable[[Scope, Receive, Send], Awaitable[None]],
        keys: ApiKeys,
        max_body_bytes: int,
        metrics: Metrics,
        draining: Callable[[], bool],
    ) -> None:
        self._app, self._keys, self._max_body_bytes = app, keys, max_body_bytes
        self._metrics, self._draining = metrics, draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Guard one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        reply = _Reply(send, str(scope["path"]))
        started = time.monotonic()
        try:
            self._admit(scope)
            body = await self._read_body(scope, receive)
            await self._answer(scope, receive, reply, body)
        except EndpointError as error:
            await reply.fail(error)
        except _Left:
            reply.status = reply.status or 499
        finally:
            route = route_label(str(scope["path"]))
            self._metrics.requests.labels(route, str(reply.status or 500)).inc()
            self._metrics.latency.labels(route).observe(time.monotonic() - started)

    def _admit(self, scope: Scope) -> None:
        path = str(scope["path"])
        if path.startswith(_REMOVED) or path.endswith(":explain"):
            raise NotFound(f"{path} does not exist here.")
        if path.startswith(_OPEN):
            return
        self._keys.check(dict(scope["headers"]))
        if self._draining():
            raise NotReady("the server is shutting down. Try again; another one answers.")

    async def _read_body(self, scope: Scope, receive: Receive) -> bytes:
        declared = dict(scope["headers"]).get(b"content-length", b"")
        if declared.isdigit() and int(declared) > self._max_body_bytes:
            raise self._too_large()
        pieces, size = [], 0
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Left
                    pieces.append(message.get("body", b""))
                    size += len(pieces[-1])
                    if size > self._max_body_bytes:
                        raise self._too_large()
                    if not message.get("more_body"):
                        return b"".join(pieces)
        except TimeoutError as error:
            raise InvalidInput(f"the body did not arrive within {_BODY_SECONDS:.0f} s.") from error

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the request is larger than {self._max_body_bytes:,} bytes. Shorten the context.")

    async def _answer(self, scope: Scope, receive: Receive, reply: "_Reply", body: bytes) -> None:
        """Run the application, and stop it when the caller leaves."""
        given = False
        never: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

        async def replay() -> Message:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": body, "more_body": False}
            return await never

        work = asyncio.ensure_future(self._app(scope, replay, reply.send))
        watch = asyncio.ensure_future(_until_gone(receive))
        try:
            await asyncio.wait((work, watch), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel()
                await asyncio.wait((work,))
                raise _Left
            error = work.exception()
            if error is not None:
                await self._explain(error, reply, str(scope["path"]))
        finally:
            for task in (work, watch):
                task.cancel()
            never.cancel()

    async def _explain(self, error: BaseException, reply: "_Reply", path: str) -> None:
        """Errors that no handler of the application has turned into a response."""
        if 400 <= reply.status < 500:
            logger.info("%s was refused: %s", path, type(error).__name__)
        elif not isinstance(error, EndpointError):
            logger.error("%s failed with %s", path, type(error).__name__, exc_info=error)
        if not isinstance(error, EndpointError):
            error = EndpointError("the server failed on this request. The operator finds why in the log.")
        await reply.fail(error)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Left(Exception):  # noqa: N818 - an event, not an error
    """The caller has closed the connection."""


class _Reply:
    """Sends the response and knows whether it has begun."""

    def __init__(self, send: Send, path: str) -> None:
        self._send, self._path = send, path
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
        await self._send(message)

    async def fail(self, error: EndpointError) -> None:
        if self.status:
            return
        body, headers = error_response(error, self._path)
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": error.status, "headers": pairs})
        await self.send({"type": "http.response.body", "body": body})


def error_body(error: EndpointError, path: str) -> dict[str, Any]:
    """{"error": message}; under /openai/ the object of that protocol, whose clients show nothing else."""
    if not path.startswith("/openai/"):
        return {"error": str(error)}
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    return {"error": {"message": str(error), "type": kind, "code": error.status, "param": None}}


def error_response(error: EndpointError, path: str) -> tuple[bytes, dict[str, str]]:
    """Body and headers of an error, with Retry-After where waiting helps."""
    body = json.dumps(error_body(error, path), ensure_ascii=False).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return body, headers


def route_label(path: str) -> str:
    """A label for metrics, from a fixed list: paths that callers invent must not become time series."""
    if path == "/":
        return path
    known = next((route for route in _ROUTES if path == route or path.startswith((f"{route}/", f"{route}:"))), None)
    if known in ("/v1/models", "/v2/models"):
        verb = next((verb for verb in (":predict", "/infer", "/ready") if path.endswith(verb)), "")
        return known + ("/*" + verb if path != known else "")
    return known or "other"
