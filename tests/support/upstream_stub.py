"""A tiny server in place of our own behind an endpoint's front: `python upstream_stub.py NAME PORT FOLDER`.

It stands in for `python -m llm_endpoint`: the same health path, and answers by name at once. What it does not have is a
model: no tokens are made, so it takes milliseconds, and thousands of requests can be counted.

The file FOLDER/<NAME>.json may hold {"delay": seconds, "status": 500}, read for every request.
"""

import asyncio
import json
import sys
from pathlib import Path

from aiohttp import web

name, port, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])


def settings() -> dict[str, float]:
    try:
        return dict(json.loads((folder / f"{name}.json").read_text()))
    except FileNotFoundError:
        return {}


async def ready(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ready"})


async def score(request: web.Request) -> web.Response:
    body = await request.text()
    wanted = settings()
    await asyncio.sleep(wanted.get("delay", 0))
    content = {"from": name, "body": body, "headers": dict(request.headers), "path": request.raw_path}
    return web.json_response(content, status=int(wanted.get("status", 200)))


async def stream(request: web.Request) -> web.StreamResponse:
    """A piece at once, and a second one as soon as there is a file FOLDER/<NAME>.go: the test holds the pace."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(b"data: first\n\n")
    while not (folder / f"{name}.go").exists():
        await asyncio.sleep(0.01)
    await response.write(b"data: second\n\n")
    return response


app = web.Application()
app.router.add_get("/readyz", ready)
app.router.add_post("/stream", stream)
app.router.add_route("*", "/{path:.*}", score)
web.run_app(
    app, host="127.0.0.1", port=port, print=None, access_log=None, handler_cancellation=True, shutdown_timeout=1
)
