"""The process that callers of an endpoint reach: `python -m components.core.deployment.endpoints.front FOLDER PORT`.

It asks for a key, splits the traffic, and passes answers through as they come. Keys, deployments and traffic are read
from the endpoint's folder again as soon as a file there has changed, so that it never has to be restarted.
"""

import asyncio
import contextlib
import hmac
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web

from components.core.deployment.endpoints.forwarding import DEPLOYMENT_HEADERS, forward, problem
from components.core.deployment.endpoints.keys import HASHES_FILE, matching_key, read_hashes, read_internal_key
from components.core.deployment.endpoints.measures import Measures
from components.core.deployment.endpoints.processes import end_family
from components.core.deployment.endpoints.record import RECORD_FILE, Deployment, EndpointRecord
from components.core.deployment.endpoints.traffic import Split
from components.core.deployment.local_servers import HERE
from components.core.errors import PlatformError

logger = logging.getLogger(__name__)

HEALTH_PATH = "/healthz"
"""Open without a key; says nothing but that the front lives."""
KEY_PATH = "/-/key"
"""Says which key a caller has."""
MEASURES_PATH = "/-/measures"
"""For the commands, which have the internal key."""
_MAX_BODY_BYTES = 32 * 1024 * 1024
_BODY_SECONDS = 30.0
_SHUTDOWN_SECONDS = 30.0
_IDLE_SECONDS = 2.0
"""Shorter than a server keeps an idle connection, so that no request meets one that is just being closed."""
_GONE_SECONDS = 5.0

T = TypeVar("T")


class Watched(Generic[T]):
    """What a file says, read again when it has been replaced.

    Args:
        path: The file.
        read: Gives its content.
    """

    def __init__(self, path: Path, read: Callable[[], T]) -> None:
        self._path, self._read = path, read
        self._seen: tuple[int, int, int] | None = None
        self.latest: T | None = None
        """What was read last."""

    def get(self) -> T:
        """The content as of now.

        Raises:
            PlatformError: If it cannot be read.
            OSError: If it is gone.
        """
        stat = self._path.stat()
        seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if self.latest is None or seen != self._seen:
            self.latest, self._seen = self._read(), seen
        return self.latest


class Front:
    """Admission, choice and forwarding.

    Args:
        folder: Of the endpoint.
    """

    def __init__(self, folder: Path) -> None:
        record = folder / RECORD_FILE
        self._folder = folder
        self._record = Watched(record, lambda: EndpointRecord.model_validate_json(record.read_bytes()))
        self._hashes = Watched(folder / HASHES_FILE, lambda: read_hashes(folder))
        self._internal_key = read_internal_key(folder)
        self._split, self._measures = Split(), Measures()
        self._client: ClientSession | None = None

    def application(self) -> web.Application:
        """The front as an application of aiohttp."""
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.router.add_get(HEALTH_PATH, self._health)
        app.router.add_get(MEASURES_PATH, self._report)
        app.router.add_get(KEY_PATH, self._say_key)
        app.router.add_route("*", "/{path:.*}", self._answer)
        app.cleanup_ctx.extend((self._connections, self._watch_folder))
        return app

    async def _connections(self, _app: web.Application) -> AsyncIterator[None]:
        connector = TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS)
        unasked = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
        async with ClientSession(
            connector=connector, timeout=ClientTimeout(total=None), auto_decompress=False, cookie_jar=DummyCookieJar(),
            skip_auto_headers=unasked,
        ) as self._client:  # fmt: skip
            yield

    async def _watch_folder(self, _app: web.Application) -> AsyncIterator[None]:
        watching = asyncio.create_task(self._leave_with_folder())
        yield
        watching.cancel()

    async def _leave_with_folder(self) -> None:
        """An endpoint whose folder was removed by hand would run on unseen."""
        missed = 0
        while missed < _GONE_SECONDS:
            await asyncio.sleep(1)
            missed = 0 if self._folder.is_dir() else missed + 1
            with contextlib.suppress(OSError, ValueError):
                self._record.get()
        logger.error("the folder of the endpoint is gone: its processes end")
        for deployment in self._record.latest.deployments if self._record.latest else []:
            await asyncio.to_thread(end_family, deployment.server)
        os.kill(os.getpid(), signal.SIGTERM)

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def _report(self, request: web.Request) -> web.Response:
        given = request.headers.get("X-Internal-Key", "")
        if not hmac.compare_digest(given.encode(), self._internal_key.encode()):
            return problem(request, 401, "only the commands of this machine read the measures.")
        return web.json_response(self._measures.report(float(request.query.get("since", "0"))))

    async def _say_key(self, request: web.Request) -> web.Response:
        which = self._key_of(request)
        return web.json_response({"key": which}) if which else self._refuse(request)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            if self._key_of(request) is None:
                return self._refuse(request)
            record = self._record.get()
        except (OSError, ValueError, PlatformError) as error:
            logger.error("the endpoint's files cannot be read: %s", error)
            return problem(request, 503, "the endpoint is being deleted, or its files are damaged.")
        chosen = self._choose(request, record)
        if isinstance(chosen, web.Response):
            return chosen
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return problem(request, 413, f"the request is larger than {_MAX_BODY_BYTES:,} bytes. Shorten it.")
        except TimeoutError:
            return problem(request, 408, f"the body did not arrive within {_BODY_SECONDS:.0f} s.")
        assert self._client is not None
        return await forward(request, body, chosen, self._client, self._internal_key, self._measures)

    def _key_of(self, request: web.Request) -> str | None:
        given = _given_key(request)
        return matching_key(given, self._hashes.get()) if given else None

    def _refuse(self, request: web.Request) -> web.Response:
        if _given_key(request):
            return problem(request, 401, "the API key is not valid. Ask the owner of this endpoint for a current one.")
        return problem(request, 401, "an API key is needed: send it as `Authorization: Bearer <key>` or `X-API-Key`.")

    def _choose(self, request: web.Request, record: EndpointRecord) -> list[Deployment] | web.Response:
        """The deployment to ask, and those that stand in for it; or why there is none."""
        ready = {each.name: each for each in record.deployments if each.state == "ready"}
        named = {request.headers[header] for header in DEPLOYMENT_HEADERS if header in request.headers}
        if len(named) > 1:
            return problem(request, 400, f"{' and '.join(DEPLOYMENT_HEADERS)} name different deployments.")
        if named:
            name = named.pop()
            if name not in ready:
                there = ", ".join(ready) or "none"
                return problem(request, 404, f"there is no deployment {name[:60]!r} here (there are: {there}).")
            return [ready[name]]
        shares = {name: percent for name, percent in record.traffic.items() if name in ready and percent > 0}
        first = self._split.choose(shares)
        if first is None:
            return problem(request, 503, "no deployment takes traffic yet: the owner sets it with `traffic`.")
        return [ready[first], *(ready[name] for name in shares if name != first)]


def _given_key(request: web.Request) -> str | None:
    bearer = request.headers.get("Authorization", "")
    if bearer[:7].lower() == "bearer ":
        return bearer[7:].strip()
    return request.headers.get("X-API-Key")


def main(arguments: list[str]) -> None:
    """Serve until SIGTERM."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    folder, port = Path(arguments[0]), int(arguments[1])
    options: dict[str, Any] = {"access_log": None, "print": None, "handler_cancellation": True}
    app = Front(folder).application()
    web.run_app(app, host=HERE, port=port, shutdown_timeout=_SHUTDOWN_SECONDS, **options)


if __name__ == "__main__":
    main(sys.argv[1:])
