"""One request, from the front to a deployment and back, in pieces as they come."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from aiohttp import ClientConnectorError, ClientError, ClientSession, web
from yarl import URL

from components.core.deployment.endpoints.measures import Measures
from components.core.deployment.endpoints.record import Deployment
from components.core.deployment.local_servers import HERE

DEPLOYMENT_HEADERS = ("x-deployment", "azureml-model-deployment")
"""Name the deployment that is to answer; in an answer, the one that did."""
_HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer")
    + ("transfer-encoding", "upgrade")
)
_NOT_FORWARDED = _HOP_BY_HOP | {
    "host",
    "content-length",
    "content-encoding",
    "expect",
    "authorization",
    "x-api-key",
    *DEPLOYMENT_HEADERS,
}
"""The caller's key is for the front alone, and the body has been unpacked already."""


async def forward(
    request: web.Request,
    body: bytes,
    deployments: Sequence[Deployment],
    client: ClientSession,
    internal_key: str,
    measures: Measures,
) -> web.StreamResponse:
    """Ask the first deployment, or the next one where it cannot be reached.

    Args:
        request: Of the caller; admitted.
        body: Its body.
        deployments: The chosen one first; others stand in only for one that no request can be sent to.
        client: Keeps connections.
        internal_key: Which the deployments ask for.
        measures: Counts the answer.
    """
    for deployment in deployments:
        started = time.monotonic()
        reply = _Reply(request, deployment.name)
        try:
            async with asyncio.timeout(deployment.options.request_timeout_ms / 1000):
                await _relay(request, body, deployment, client, internal_key, reply)
            measures.add(deployment.name, started, reply.status)
        except ClientConnectorError:
            # nothing was sent, so another one may be asked
            measures.add(deployment.name, started, 502)
            continue
        except CallerLeft:
            return reply.response
        except TimeoutError:
            measures.add(deployment.name, started, 504, cut=True)
            text = (
                f"the deployment {deployment.name} did not answer within {deployment.options.request_timeout_ms} ms. "
                "Ask for less (max_new_tokens), or deploy it with a longer --request-timeout-ms."
            )
            return reply.give_up(504, text)
        except ClientError as error:
            measures.add(deployment.name, started, 502, cut=True)
            return reply.give_up(502, f"the deployment {deployment.name} broke off ({type(error).__name__}).")
        return reply.response
    names = ", ".join(deployment.name for deployment in deployments)
    return problem(request, 502, f"no process answers for the deployment {names}. The operator sees why with `status`.")


async def _relay(
    request: web.Request, body: bytes, deployment: Deployment, client: ClientSession, internal_key: str, reply: "_Reply"
) -> None:
    headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _NOT_FORWARDED]
    headers.append(("X-API-Key", internal_key))
    url = URL(f"http://{HERE}:{deployment.server.port}{request.rel_url.raw_path_qs}", encoded=True)
    async with client.request(request.method, url, headers=headers, data=body or None, allow_redirects=False) as answer:
        kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP]
        await reply.begin(answer.status, kept)
        async for piece in answer.content.iter_any():
            await reply.write(piece)
        await reply.end()


class CallerLeft(Exception):  # noqa: N818 - an event, not an error
    """The caller has closed the connection; no failure of the deployment."""


class _Reply:
    """The answer to a caller, and whether it has begun."""

    def __init__(self, request: web.Request, deployment: str) -> None:
        self._request, self._deployment = request, deployment
        self.response = web.StreamResponse()
        self.status = 0

    async def begin(self, status: int, headers: list[tuple[str, str]]) -> None:
        self.response = web.StreamResponse(status=status)
        for name, value in headers:
            self.response.headers.add(name, value)
        self._name_deployment(self.response)
        await self.response.prepare(self._request)
        self.status = status

    async def write(self, piece: bytes) -> None:
        try:
            await self.response.write(piece)
        except ConnectionError as error:
            raise CallerLeft from error

    async def end(self) -> None:
        try:
            await self.response.write_eof()
        except ConnectionError as error:
            raise CallerLeft from error

    def give_up(self, status: int, text: str) -> web.StreamResponse:
        if not self.status:
            response = problem(self._request, status, text)
            self._name_deployment(response)
            return response
        # the caller has a part already: a closed connection is the only way left to say that it is not all
        if self._request.transport is not None:
            self._request.transport.abort()
        return self.response

    def _name_deployment(self, response: web.StreamResponse) -> None:
        for name in DEPLOYMENT_HEADERS:
            response.headers[name] = self._deployment


def problem(request: web.Request, status: int, text: str) -> web.Response:
    """{"error": message}; under /openai/ the object of that protocol, whose clients show nothing else."""
    content: Any = text
    if request.path.startswith("/openai/"):
        kind = "invalid_request_error" if status < 500 else "server_error"
        content = {"message": text, "type": kind, "code": status, "param": None}
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return web.json_response({"error": content}, status=status, headers=headers)
