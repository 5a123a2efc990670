"""The real endpoint with its real engine under many callers: nothing fails, nothing is lost, memory stays flat.

    python -m benchmarks.endpoint_load [MODEL] [--seconds N] [--clients N] [--engine NAME]

Three phases on one server: callers who ask again and again, more of them than there are places; half of the callers
hanging up in the middle; SIGTERM while all of them ask. Exit code 1 if a condition fails.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.fixed_answer import STARTER, context, request_bytes
from benchmarks.load_client import Connection, Reply, connect, percentile
from benchmarks.server_process import ServerProcess, free_port, machine

RESULT = Path(__file__).parent / "results" / "endpoint_load.json"
LARGEST_GROWTH_MIB = 25.0
IDLE_SECONDS = 15.0
PLACES = {"MAX_RUNNING": "16", "MAX_QUEUE": "128"}
"""Fewer than the callers, so that the queue's bound is met."""
CONTEXTS = ("Ada kept the light.", context()[:320], "The harbour was built in 1871. " * 10)
REQUESTS = [
    request_bytes("/generate", {"question": question, "context": text, "stream": stream, **more})
    for text in CONTEXTS
    for question in ("Who kept it?", "What is written about it, and when?")
    for stream in (True, False)
    # with such a penalty a small base model goes on for long
    for more in ({}, {"repetition_penalty": 1.5, "max_new_tokens": 64})
]
LONG = request_bytes(
    "/generate", {"question": "List it.", "context": CONTEXTS[0] * 5, "stream": True, "repetition_penalty": 1.5}
)


def is_whole(reply: Reply) -> bool:
    """Whether a 200 brought an answer to its end."""
    if b"data: " in reply.body:
        return "response" in reply.events()[-1]
    return "response" in json.loads(reply.body)


class Crowd:
    """Callers and what became of their requests."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.statuses: Counter[str] = Counter()
        self.times: list[float] = []
        self.broken: list[str] = []
        """Requests that were taken and not answered to the end."""
        self.signalled_at = float("inf")

    async def ask(self, connection: Connection, request: bytes) -> int:
        """One request; its status, or 0 when the server has hung up."""
        sent_at = time.monotonic()
        try:
            reply = await connection.ask(request)
        except OSError as error:
            if sent_at < self.signalled_at or connection.partly_answered:
                self.broken.append(f"{type(error).__name__}: {error}")
            self.statuses["refused"] += 1
            return 0
        self.statuses[str(reply.status)] += 1
        if reply.status == 200:
            self.times.append(reply.total_seconds)
            if not is_whole(reply):
                self.broken.append(f"an answer without an end: {reply.body[-200:]!r}")
        return reply.status

    async def keep_asking(self, number: int, until: float) -> None:
        """Ask until the time is over or the server has gone; wait a moment where it says that it is full."""
        try:
            connection = await connect(self.server.port)
        except OSError:
            self.statuses["refused"] += 1
            return
        turn = number
        while time.monotonic() < until:
            status = await self.ask(connection, REQUESTS[turn % len(REQUESTS)])
            turn += 7
            if not status or (status == 503 and time.monotonic() > self.signalled_at):
                break
            if status in (429, 503):
                await asyncio.sleep(0.5)
        connection.close()


async def watch_memory(server: ServerProcess, until: float) -> list[float]:
    """MiB once a second."""
    found = []
    while time.monotonic() < until:
        await asyncio.sleep(1.0)
        found.append(round(server.resident_mib(), 1))
    return found


async def hold(server: ServerProcess, clients: int, seconds: float) -> tuple[Crowd, list[float]]:
    """Phase 1: many callers for a time."""
    crowd, until = Crowd(server), time.monotonic() + seconds
    memory = asyncio.create_task(watch_memory(server, until))
    await asyncio.gather(*(crowd.keep_asking(number, until) for number in range(clients)))
    return crowd, await memory


async def hang_up(server: ServerProcess, clients: int) -> tuple[Crowd, int]:
    """Phase 2: half of the callers leave, some in the queue, some in the middle; how many had left."""
    crowd, left = Crowd(server), 0

    async def leave(number: int) -> None:
        nonlocal left
        connection = await connect(server.port)
        task = asyncio.create_task(connection.ask(LONG))
        await asyncio.wait((task,), timeout=0.02 * (number % 20))
        left += not task.done()
        connection.close()
        await asyncio.wait((task,))
        task.exception()

    async def stay(number: int) -> None:
        connection = await connect(server.port)
        while await crowd.ask(connection, REQUESTS[number % len(REQUESTS)]) == 429:
            await asyncio.sleep(0.3)
        connection.close()

    await asyncio.gather(*(leave(n) if n % 2 else stay(n) for n in range(clients)))
    return crowd, left


def idle(server: ServerProcess) -> bool:
    """Whether nothing runs or waits after a while."""
    ended = time.monotonic() + IDLE_SECONDS
    while time.monotonic() < ended:
        if server.metric("llm_requests_running") + server.metric("llm_requests_waiting") == 0:
            return True
        time.sleep(0.1)
    return False


async def terminate(server: ServerProcess, clients: int) -> Crowd:
    """Phase 3: SIGTERM while everybody asks."""
    crowd, until = Crowd(server), time.monotonic() + 60
    work = [asyncio.create_task(crowd.keep_asking(number, until)) for number in range(clients)]
    await asyncio.sleep(3.0)
    crowd.signalled_at = time.monotonic()
    server.terminate()
    await asyncio.gather(*work)
    return crowd


def bad_statuses(crowd: Crowd, *allowed: str) -> dict[str, int]:
    """What should not have been answered."""
    return {status: number for status, number in crowd.statuses.items() if status not in allowed}


def measure(server: ServerProcess, clients: int, seconds: float) -> tuple[dict[str, Any], dict[str, bool]]:
    """All phases: figures, and which conditions hold."""
    asyncio.run(hold(server, clients, min(seconds, 8.0)))  # caches and pools fill up
    held, memory = asyncio.run(hold(server, clients, seconds))
    left, number_left = asyncio.run(hang_up(server, clients))
    nothing_left = idle(server)
    ended = asyncio.run(terminate(server, clients))
    code = server.stop()
    quarter = max(1, len(memory) // 4)
    growth = round(median(memory[-quarter:]) - median(memory[:quarter]), 1)
    figures = {
        "load": {
            "statuses": dict(held.statuses),
            "answers_per_second": round(held.statuses["200"] / seconds, 1),
            "seconds_p50": round(percentile(held.times, 0.5), 3),
            "seconds_p99": round(percentile(held.times, 0.99), 3),
            "resident_mib": memory,
            "growth_mib": growth,
        },
        "hang_up": {"left": number_left, "statuses": dict(left.statuses)},
        "sigterm": {"statuses": dict(ended.statuses), "exit_code": code},
        "broken": [*held.broken, *left.broken, *ended.broken],
    }
    log = server.log()
    conditions = {
        "under load only 200, and 429 or 503 of the bounded queue": not bad_statuses(held, "200", "429", "503"),
        "every request that was taken is answered to its end": not held.broken,
        f"memory grows by no more than {LARGEST_GROWTH_MIB:.0f} MiB": growth <= LARGEST_GROWTH_MIB,
        "half hang up: the others are answered": not left.broken and not bad_statuses(left, "200", "429"),
        "half hang up: nothing goes on running or waiting": nothing_left and number_left > 0,
        "SIGTERM: what was taken is answered, the rest refused": not ended.broken
        and not bad_statuses(ended, "200", "429", "503", "refused"),
        "SIGTERM: exit code 0": code == 0,
        "no stack trace in the log": "Traceback" not in log,
    }
    return figures, conditions


def main() -> int:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description="The endpoint under many callers.")
    parser.add_argument("model", nargs="?", default=str(STARTER), help="model folder or Hub id")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--engine", choices=["auto", "openvino", "transformers"], default="auto")
    given = parser.parse_args()
    facts, port = machine(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "MODEL": str(Path(given.model).resolve()) if Path(given.model).exists() else given.model,
            "ENGINE": given.engine, "HOST": "127.0.0.1", "HTTP_PORT": str(port), "WHETSTONE_HOME": folder,
        }  # fmt: skip
        with ServerProcess(["llm_endpoint"], port, "/readyz", Path(folder), settings | PLACES) as server:
            engine = json.loads(server.get("/healthz")[1])["engine"]
            figures, conditions = measure(server, given.clients, given.seconds)
            log = server.log()
    result = {"machine": facts, "engine": engine, "clients": given.clients, "seconds": given.seconds}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result | figures | {"conditions": conditions}, indent=2) + "\n", encoding="utf-8")
    load = figures["load"]
    print(f"\n{given.clients} clients for {given.seconds:.0f} s on {engine}: {load['answers_per_second']} answers/s, "
          f"p50 {load['seconds_p50']} s, p99 {load['seconds_p99']} s")  # fmt: skip
    print(f"  statuses  load {load['statuses']}   hang-up {figures['hang_up']}   SIGTERM {figures['sigterm']}")
    shown = load["resident_mib"][:: max(1, len(load["resident_mib"]) // 10)]
    print(f"  memory    {shown} MiB, {load['growth_mib']:+.1f} from the first quarter to the last")
    for name, holds in conditions.items():
        print(f"  {'ok    ' if holds else 'FAILED'}  {name}")
    if not all(conditions.values()):
        print("\n".join(figures["broken"][:5]), log[-1500:], sep="\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
