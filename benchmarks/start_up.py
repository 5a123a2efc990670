"""From the start of a server's process to the first token that it streams, against the plainest transformers server.

    python -m benchmarks.start_up [--rounds N] [--cold-rounds N] [--model starter m110] [--threads N]

The client polls /readyz and asks at once. `warm` is the endpoint as it usually starts: the model has been converted
before. `cold` is its first start with this model: it converts the model and compares it with transformers. The servers
take turns, and every file has been read before, so that no disk is measured.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.fixed_answer import STARTER, request_bytes
from benchmarks.load_client import drive
from benchmarks.random_llama import starter_rows, write_random_llama
from benchmarks.server_process import ServerProcess, free_port, machine

RESULT = Path(__file__).parent / "results" / "start_up.json"
GOAL = 0.7
POLL_SECONDS = 0.02
NEW_TOKENS = 16
PEER = "plain"
LONGEST_START = 600.0


def start_and_ask(arguments: list[str], environment: dict[str, str], port: int, folder: Path) -> tuple[float, str]:
    """Start a server, ask it one question and stop it.

    Returns:
        Seconds from the start to the first piece of the answer, and the answer.

    Raises:
        SystemExit: If it does not start or does not answer.
    """
    row = starter_rows()[2]
    body = {"question": row["question"], "context": row["context"], "max_new_tokens": NEW_TOKENS, "stream": True}
    began = time.monotonic()
    server = ServerProcess(arguments, port, "/readyz", folder, environment)
    try:
        while server.get("/readyz")[0] != 200:
            if not server.running() or time.monotonic() - began > LONGEST_START:
                sys.exit(f"error: the server did not start:\n{server.log()[-2000:]}")
            time.sleep(POLL_SECONDS)
        (reply,) = asyncio.run(drive(port, request_bytes("/generate", body), 1, 1))
    finally:
        server.stop()
    if reply.status != 200 or reply.first_seconds is None:
        sys.exit(f"error: status {reply.status}, no answer: {reply.body[:500]!r}\n{server.log()[-2000:]}")
    return reply.began + reply.first_seconds - began, "".join(reply.pieces()).strip().split("\n")[0]


def start_ours(model: Path, home: Path, threads: int, folder: Path) -> tuple[float, str]:
    """One start of the endpoint with what it finds in its home."""
    port = free_port()
    environment = {
        "MODEL": str(model), "HOST": "127.0.0.1", "HTTP_PORT": str(port), "WHETSTONE_HOME": str(home),
        "THREADS": str(threads),
    }  # fmt: skip
    return start_and_ask(["llm_endpoint"], environment, port, folder)


def start_plain(model: Path, threads: int, folder: Path) -> tuple[float, str]:
    """One start of the peer."""
    port = free_port()
    arguments = ["benchmarks.plain_server", "--model", str(model), "--port", str(port), "--threads", str(threads)]
    return start_and_ask(arguments, {}, port, folder)


def measure(name: str, rounds: int, cold_rounds: int, threads: int, folder: Path) -> dict[str, Any]:
    """All starts with one model."""
    model = STARTER
    if name != "starter":
        model = folder / name
        write_random_llama(model, name)
    _, expected = start_plain(model, threads, folder)  # reads every file once
    seconds: dict[str, list[float]] = {"cold": [], "warm": [], PEER: []}

    def take(side: str, turn: tuple[float, str]) -> None:
        if turn[1] != expected:
            sys.exit(f"error: {side} answers {turn[1]!r} to {name}'s question, and {PEER} {expected!r}")
        seconds[side].append(round(turn[0], 3))
        print(f"{name:8} {side:6}{turn[0]:7.2f} s", flush=True)

    home = folder / f"{name}-home"
    for number in range(cold_rounds):
        # the last one's conversion is what the warm starts find
        cold_home = home if number == cold_rounds - 1 else folder / f"{name}-home-{number}"
        take("cold", start_ours(model, cold_home, threads, folder))
    for _ in range(rounds):
        take("warm", start_ours(model, home, threads, folder))
        take(PEER, start_plain(model, threads, folder))
    medians = {side: median(taken) for side, taken in seconds.items()}
    ratio = median(ours / plain for ours, plain in zip(seconds["warm"], seconds[PEER], strict=True))
    return {"answer": expected, "seconds": seconds, "medians": medians, "warm_over_plain": round(ratio, 3)}


def main() -> None:
    """Measure, print and keep the figures."""
    facts = machine()
    parser = argparse.ArgumentParser(description="Start to first token against the plainest transformers server.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cold-rounds", type=int, default=1)
    parser.add_argument("--model", nargs="+", choices=["starter", "m110"], default=["starter", "m110"])
    parser.add_argument("--threads", type=int, default=facts["cores"], help="CPU threads of each model")
    given = parser.parse_args()
    if min(given.rounds, given.cold_rounds, given.threads) < 1:
        parser.error("--rounds, --cold-rounds and --threads are at least 1.")
    print(f"{facts['cpu']}, {facts['cores']} cores, load average {facts['load_average']}, {given.threads} threads")
    with tempfile.TemporaryDirectory() as name:
        models = {
            model: measure(model, given.rounds, given.cold_rounds, given.threads, Path(name)) for model in given.model
        }
    print("\nmedian seconds from the start of the process to the first token")
    print(f"{'':8}{'plain':>8}{'warm':>8}{'cold':>8}   warm / plain")
    for model, found in models.items():
        middle = found["medians"]
        print(
            f"{model:8}{middle[PEER]:8.2f}{middle['warm']:8.2f}{middle['cold']:8.2f}"
            f"   {found['warm_over_plain']:.2f}x (goal <= {GOAL})"
        )
    result = {"machine": facts, "threads": given.threads, "goal": GOAL, "models": models}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written to {RESULT}")


if __name__ == "__main__":
    main()
