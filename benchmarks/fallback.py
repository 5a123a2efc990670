"""What a stand-in costs while the service is well, and what users feel when it is not.

    python -m benchmarks.fallback [--rounds N] [--outage-seconds S] [--only added outage]

added: the chain (STAND_IN=local) and the plain endpoint (ENGINE=openai), both the real server, take turns before one
upstream that says a fixed answer at a fixed pace; the difference of their medians in a round is what the chain adds.
outage: the drill's scripted service and traffic; the p95 of the minute from the first moment of an outage on, over the
p95 of the time before. The goal is at most twice. Both have the starter as the local model.
"""

import argparse
import asyncio
import importlib
import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.fixed_answer import question_body, request_bytes
from benchmarks.load_client import drive, percentile
from benchmarks.server_process import ServerProcess, free_port, machine

RESULT = Path(__file__).parent / "results" / "fallback.json"
TOKENS, PACE_SECONDS = 16, 0.01
STREAMS, REQUESTS = 4, 80
OUTAGES = ["refused", "hang", "cut"]
GOAL_MS, GOAL_RATIO = 1.0, 2.0


def measure_added(rounds: int) -> dict[str, Any]:
    """Milliseconds that the chain adds to the first token and to the whole answer."""
    # a folder whose name has a hyphen cannot be imported by statement
    write_stand_in = importlib.import_module("llm-pipelines.drill").write_stand_in
    found: list[dict[str, dict[str, float]]] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        model, home = write_stand_in(Path(folder) / "model"), Path(folder)
        upstream = free_port()
        paced = ["--port", str(upstream), "--tokens", str(TOKENS), "--pace", str(PACE_SECONDS)]
        stack.enter_context(ServerProcess(["benchmarks.stub_upstream", *paced], upstream, "/v1/models", home))

        def endpoint(**environment: str) -> ServerProcess:
            port = free_port()
            settings = {"HOST": "127.0.0.1", "HTTP_PORT": str(port), "WHETSTONE_HOME": str(home), "MODEL": str(model)}
            settings |= {"OPENAI_BASE_URL": f"http://127.0.0.1:{upstream}/v1", "THREADS": "1"}
            return stack.enter_context(ServerProcess(["llm_endpoint"], port, "/readyz", home, settings | environment))

        servers = {"plain": endpoint(ENGINE="openai"), "chain": endpoint(STAND_IN="local", FIRST_TOKEN_SECONDS="5")}
        request = request_bytes("/generate", question_body(stream=True))
        for number in range(-1, rounds):
            order = list(servers) if number % 2 else list(servers)[::-1]
            turn = {side: _turn(servers[side].port, request) for side in order}
            if number >= 0:  # the first round only warms up
                found.append(turn)
        answered = servers["chain"].metric("llm_source_answers_total", source="service", fallback="none")
        assert answered == (rounds + 1) * REQUESTS, "the stand-in has answered: this measured something else"
    added = {
        name: round(median(turn["chain"][name] - turn["plain"][name] for turn in found), 3)
        for name in ("first_ms", "whole_ms")
    }
    return {"added": added, "rounds": found}


def _turn(port: int, request: bytes) -> dict[str, float]:
    replies = asyncio.run(drive(port, request, STREAMS, REQUESTS, spread_seconds=TOKENS * PACE_SECONDS))
    assert all(reply.status == 200 for reply in replies)
    return {
        "first_ms": 1000 * median(reply.first_seconds or 0.0 for reply in replies),
        "whole_ms": 1000 * median(reply.total_seconds for reply in replies),
    }


def measure_outage(seconds: float) -> dict[str, Any]:
    """p95 in each outage over the p95 before, by the drill."""
    drill = importlib.import_module("llm-pipelines.drill")
    with tempfile.TemporaryDirectory() as folder:
        one = drill.Drill(Path(folder), rate=4.0, first_token_seconds=0.5)
        phases = asyncio.run(one.run("", OUTAGES, 20.0, seconds, 90.0))
    drill.print_table(phases)
    well = percentile([seen.seconds for seen in phases[0].seen], 0.95)
    found = {}
    for phase in phases[1:]:
        p95 = percentile([seen.seconds for seen in phase.seen], 0.95)
        found[phase.name] = {
            "asked": len(phase.seen), "failed": len(phase.failed), "p95_seconds": round(p95, 3),
            "over_normal": round(p95 / well, 2), "calls": phase.calls, "recovery_seconds": phase.recovery_seconds,
        }  # fmt: skip
    return {"normal_p95_seconds": round(well, 3), "outage_seconds": seconds, "outages": found}


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description="The chain of a service and its stand-in.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--outage-seconds", type=float, default=60.0)
    parser.add_argument("--only", nargs="+", choices=["added", "outage"], default=["added", "outage"])
    given = parser.parse_args()
    result: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    result["machine"] = machine()
    if "added" in given.only:
        result["added"] = measure_added(given.rounds)
        added = result["added"]["added"]
        print(
            f"\nadded by the chain, service well, medians of {given.rounds} rounds: first token "
            f"{added['first_ms']:+.2f} ms, whole answer {added['whole_ms']:+.2f} ms (goal <= {GOAL_MS:g})"
        )
    if "outage" in given.only:
        result["outage"] = outage = measure_outage(given.outage_seconds)
        for name, one in outage["outages"].items():
            print(
                f"{name}: p95 {one['p95_seconds']:.2f} s, {one['over_normal']:.2f}x of normal "
                f"(goal <= {GOAL_RATIO:g}), {one['failed']} of {one['asked']} failed, {one['calls']} calls"
            )
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
