"""Steady traffic for drills: what each user saw, in every protocol of the endpoint, streamed and not."""

import asyncio
import itertools
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

QUESTION = "Who keeps the light on Tern Island?"
CONTEXT = "Ada Morrow keeps the light on Tern Island. Piers Aldous brings the oil in spring."
TURNS = [{"role": "system", "content": CONTEXT}, {"role": "user", "content": QUESTION}]
_TOKENS = 24
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("/generate", {"question": QUESTION, "context": CONTEXT, "stream": True, "max_new_tokens": _TOKENS}),
    ("/generate", {"question": QUESTION, "context": CONTEXT, "max_new_tokens": _TOKENS}),
    ("/openai/v1/chat/completions", {"messages": TURNS, "stream": True, "max_tokens": _TOKENS}),
    ("/openai/v1/chat/completions", {"messages": TURNS, "max_tokens": _TOKENS}),
    ("/score", {"input_data": {"input_string": TURNS, "parameters": {"max_new_tokens": _TOKENS}}}),
]


@dataclass(frozen=True)
class Seen:
    """What one user saw."""

    began: float
    source: str
    """service, local, or both for an answer that was continued."""
    seconds: float
    first_seconds: float
    """To the first text of a stream, else to the answer."""
    marked: bool
    """A stream said that another model goes on."""
    failure: str = ""
    """Why it counts as failed."""


async def ask(client: Any, path: str, body: dict[str, Any]) -> Seen:
    """Send one request and look at everything that comes back."""
    import httpx

    began, first, marked, ended, failure = time.monotonic(), 0.0, False, False, ""
    source = ""
    try:
        async with client.stream("POST", path, json=body) as response:
            source = response.headers.get("x-answered-by", "")
            if response.status_code != 200:
                failure = f"status {response.status_code}: {(await response.aread()).decode()[:120]}"
            elif body.get("stream"):
                async for line in response.aiter_lines():
                    if not line.startswith("data: "):
                        continue
                    event = {"done": True} if line == "data: [DONE]" else json.loads(line[6:])
                    failure = failure or str(event.get("error", ""))
                    marked = marked or "handover" in event
                    source = event.get("answered_by", source)
                    ended = ended or "done" in event or "response" in event
                    first = first or (time.monotonic() - began if _text(event) else 0.0)
                failure = failure or ("" if ended else "the stream had no end")
            else:
                content = json.loads(await response.aread())
                source = content.get("answered_by", source)
    except (httpx.HTTPError, ValueError) as error:
        failure = f"{type(error).__name__}: {error}"
    seconds = time.monotonic() - began
    if not failure and "," in source and not marked:
        failure = "two models answered and no mark says so"
    return Seen(began, source, seconds, first or seconds, marked, failure)


def _text(event: dict[str, Any]) -> Any:
    if choices := event.get("choices"):
        return choices[0].get("delta", {}).get("content")
    return event.get("delta")


class Traffic:
    """Sends requests at a steady rate until it is stopped, whether or not the earlier ones have been answered.

    Args:
        address: Of the endpoint.
        rate: Requests per second.
    """

    def __init__(self, address: str, rate: float) -> None:
        self._address, self._rate = address, rate
        self.seen: list[Seen] = []
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Send; ends when all have been answered."""
        import httpx

        limits = httpx.Limits(max_connections=200)
        async with (
            httpx.AsyncClient(base_url=self._address, timeout=60, limits=limits) as client,
            asyncio.TaskGroup() as group,
        ):
            due = time.monotonic()
            for path, body in itertools.cycle(REQUESTS):
                if self._stop.is_set():
                    return
                group.create_task(self._one(client, path, body))
                due += 1 / self._rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))

    def stop(self) -> None:
        """Send no more."""
        self._stop.set()

    async def _one(self, client: Any, path: str, body: dict[str, Any]) -> None:
        self.seen.append(await ask(client, path, body))

    async def metric(self, name: str, label: str) -> float:
        """A value at the endpoint's /metrics; 0 where it has not been counted."""
        import httpx

        async with httpx.AsyncClient(base_url=self._address, timeout=10) as client:
            lines = (await client.get("/metrics")).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}{{") and label in line)

    async def until_service(self, since: float, seconds: float) -> float | None:
        """Seconds until a request that was sent after `since` was answered by the service; None: not in time."""
        while time.monotonic() - since < seconds:
            found = [one.began for one in self.seen if one.began > since and one.source == "service"]
            if found:
                return min(found) - since
            await asyncio.sleep(0.05)
        return None


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
