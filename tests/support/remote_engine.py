"""Runs the remote engine of the endpoint against the stand-in server: what its tests share."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from llm_endpoint.engines.remote import RemoteEngine
from llm_endpoint.engines.remote.generation import RemoteGeneration
from llm_endpoint.engines.seam import GenerationRequest, Message, Sampling
from llm_endpoint.errors import EndpointError
from pydantic import SecretStr
from support.openai_server import OpenAiServer

KEY = "sk-secret-canary"
PLAIN = Sampling(repetition_penalty=1.0)


def ask(text: str = "What is the capital?", sampling: Sampling = PLAIN) -> GenerationRequest:
    """A chat of one turn."""
    return GenerationRequest(messages=(Message("user", text),), sampling=sampling)


def serve(
    server: OpenAiServer | str,
    use: Callable[[RemoteEngine], Awaitable[Any]],
    *,
    key: str | None = None,
    model: str | None = None,
    timeout_seconds: float = 10.0,
    max_running: int = 4,
    max_queue: int = 4,
) -> Any:
    """Start an engine on the server, use it, stop it."""
    url = server if isinstance(server, str) else server.url
    secret = SecretStr(key) if key else None

    async def run() -> Any:
        remote = RemoteEngine(url, secret, model, timeout_seconds, max_running, max_queue)
        await remote.start()
        try:
            return await use(remote)
        finally:
            await remote.stop()

    return asyncio.run(run())


async def read(
    remote: RemoteEngine, request: GenerationRequest, pieces: list[str] | None = None
) -> tuple[str, RemoteGeneration]:
    """The whole answer; `pieces` also holds what came before an error."""
    pieces = [] if pieces is None else pieces
    generation = remote.submit(request)
    async for delta in generation:
        pieces.append(delta.text)
    return "".join(pieces), generation


def failing(server: OpenAiServer, request: GenerationRequest | None = None, **options: Any) -> EndpointError:
    """The error of one request, after a start without faults."""
    mode, server.mode = server.mode, "ok"

    async def use(remote: RemoteEngine) -> EndpointError:
        server.mode = mode
        with pytest.raises(EndpointError) as caught:
            await read(remote, request or ask())
        return caught.value

    error: EndpointError = serve(server, use, **options)
    return error


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that other threads or tasks bring about."""
    for _ in range(400):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not happen")
