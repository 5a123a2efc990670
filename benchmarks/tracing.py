"""What tracing costs: on against off at a LangSmith stand-in on this machine, and with that stand-in hanging.

    python -m benchmarks.tracing [--rounds N] [--requests N] [--hang-requests N]

Ours is the endpoint around a core that emits fixed tokens; the peer is FastAPI with LangChain's ChatOpenAI and
LangSmith's own tracer, before a stub of an OpenAI-compatible server. All take turns in each round. Processor time runs
until every trace has arrived, so that work put off counts too. With the stand-in hanging the queue fills up first;
memory is compared from then on.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.fixed_answer import OWN_SECONDS, STARTER, answer_pieces, question_body, request_bytes
from benchmarks.load_client import Reply, drive, percentile
from benchmarks.server_process import ServerProcess, free_port, machine
from benchmarks.trace_sink import TraceSink

RESULT = Path(__file__).parent / "results" / "tracing.json"
TOKENS, PACE_SECONDS, STREAMS = 32, 0.02, 16
ARRIVAL_SECONDS = 60.0
TRACE_QUEUE = 512
"""Traces that the endpoint holds: small, so that it is full long before the hanging part is over."""
SIDES = ("ours off", "ours on", "peer off", "peer on")
REQUEST = request_bytes("/generate", question_body(stream=True))


def start(folder: Path, sink: TraceSink, stack: ExitStack) -> dict[str, ServerProcess]:
    """Both servers, each with tracing off and on."""
    paced = ["--tokens", str(TOKENS), "--pace", str(PACE_SECONDS)]
    upstream_port = free_port()
    stack.enter_context(
        ServerProcess(
            ["benchmarks.stub_upstream", "--port", str(upstream_port), *paced], upstream_port, "/v1/models", folder
        )
    )
    tracing = {"LANGSMITH_TRACING": "true", "LANGSMITH_ENDPOINT": sink.address, "LANGSMITH_API_KEY": "lsv2_pt_key"}
    servers = {}
    for side in SIDES:
        port = free_port()
        environment = tracing if side.endswith("on") else {}
        if side.startswith("ours"):
            arguments = ["benchmarks.stub_endpoint", *paced]
            environment = environment | {
                "HOST": "127.0.0.1", "HTTP_PORT": str(port), "MODEL": str(STARTER), "WHETSTONE_HOME": str(folder),
                "MAX_RUNNING": "64", "TRACE_QUEUE": str(TRACE_QUEUE),
            }  # fmt: skip
        else:
            upstream = f"http://127.0.0.1:{upstream_port}/v1"
            arguments = ["benchmarks.relay_peer", "--port", str(port), "--upstream", upstream]
        servers[side] = stack.enter_context(ServerProcess(arguments, port, "/readyz", folder, environment))
    return servers


def load(server: ServerProcess, requests: int) -> list[Reply]:
    """Send requests; every answer must be the right one."""
    replies = asyncio.run(drive(server.port, REQUEST, STREAMS, requests, spread_seconds=TOKENS * PACE_SECONDS))
    expected = "".join(answer_pieces(TOKENS)).strip()
    for reply in replies:
        if reply.status != 200 or "".join(reply.pieces()).strip() != expected:
            sys.exit(f"error: status {reply.status}, a wrong answer: {reply.body[:300]!r}")
    return replies


def seconds_of(server: ServerProcess) -> float:
    """Processor time without the stub core's own."""
    return server.cpu_seconds() - server.metric(OWN_SECONDS)


def turn(server: ServerProcess, sink: TraceSink, requests: int, traced: bool) -> dict[str, float]:
    """One turn of one server at a healthy sink."""
    had, before = sink.traces(), seconds_of(server)
    replies = load(server, requests)
    arrived = sink.wait_for(had + requests, ARRIVAL_SECONDS) - had if traced else 0
    return {
        "cpu_ms_per_request": (seconds_of(server) - before) / requests * 1000,
        **latencies(replies),
        "arrived": arrived,
    }


def latencies(replies: list[Reply]) -> dict[str, float]:
    """Of whole answers, and what is left of them without the time that the tokens take by themselves."""
    times = [reply.total_seconds * 1000 for reply in replies]
    p50, p99, paced = percentile(times, 0.5), percentile(times, 0.99), (TOKENS - 1) * PACE_SECONDS * 1000
    return {"p50_ms": p50, "p99_ms": p99, "added_p50_ms": p50 - paced, "added_p99_ms": p99 - paced}


def hang(server: ServerProcess, requests: int) -> dict[str, Any]:
    """One turn while the sink hangs: latency, memory over time, losses."""
    memory: list[tuple[float, float]] = []
    ended = threading.Event()
    began = time.monotonic()

    def watch() -> None:
        while not ended.wait(1.0):
            memory.append((round(time.monotonic() - began, 1), round(server.resident_mib(), 1)))

    watcher = threading.Thread(target=watch)
    watcher.start()
    replies = load(server, requests)
    ended.set()
    watcher.join()
    later = [mib for _, mib in memory[len(memory) // 2 :]]
    return {
        **latencies(replies),
        "resident_mib": memory,
        "grown_in_the_second_half_mib": round(later[-1] - later[0], 1) if later else 0.0,
        "lost_in_metrics": server.metric("llm_telemetry_items_total", event="lost"),
    }


def print_rounds(medians: dict[str, dict[str, float]], ratios: dict[str, dict[str, float]], requests: int) -> None:
    print(f"\nat a sink that answers: {requests} requests a round, {STREAMS} at once, {TOKENS} tokens")
    for side, found in medians.items():
        print(
            f"  {side:<9} cpu {found['cpu_ms_per_request']:6.2f} ms/request   p50 {found['p50_ms']:6.1f} ms"
            f"   p99 {found['p99_ms']:6.1f} ms   of it added {found['added_p50_ms']:5.1f}, {found['added_p99_ms']:5.1f}"
            f"   traces {found['arrived']:.0f}"
        )
    for side, found in ratios.items():
        print(f"  {side}: on over off: cpu {found['cpu']:.2f}x, p99 {found['p99']:.2f}x")


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description="Tracing on against off, ours and LangSmith's own tracer.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=192, help="per round and side")
    parser.add_argument("--hang-requests", type=int, default=1600, help="many more than the queue holds")
    given = parser.parse_args()
    facts = machine()
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as folder, TraceSink() as sink, ExitStack() as stack:
        servers = start(Path(folder), sink, stack)
        for number in range(-1, given.rounds):
            for side, server in servers.items():
                measured = turn(server, sink, given.requests, side.endswith("on"))
                if number >= 0:  # the first round only warms up
                    found[side].append(measured)
        sink.behave("hang")
        hanging = {side: hang(servers[side], given.hang_requests) for side in ("ours off", "ours on", "peer on")}
    medians = {
        side: {key: round(median(one[key] for one in turns), 3) for key in turns[0]} for side, turns in found.items()
    }
    ratios = {
        side: {
            "cpu": ratio(found[f"{side} on"], found[f"{side} off"], "cpu_ms_per_request"),
            "p99": ratio(found[f"{side} on"], found[f"{side} off"], "p99_ms"),
        }
        for side in ("ours", "peer")
    }
    result = {
        "machine": facts, "requests": given.requests, "medians": medians, "on_over_off": ratios, "rounds": found,
        "hanging": hanging,
    }  # fmt: skip
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print_rounds(medians, ratios, given.requests)
    every = all(one["arrived"] == given.requests for one in found["ours on"])
    print(f"  every trace of ours arrived: {'yes' if every else 'NO'}")
    print("  goal: cpu and p99 <= 1.15x, every run delivered")
    print(f"\nat a sink that hangs: {given.hang_requests} requests")
    for side, one in hanging.items():
        print(
            f"  {side:<9} p50 {one['p50_ms']:6.1f} ms   p99 {one['p99_ms']:6.1f} ms   "
            f"of it added {one['added_p99_ms']:5.1f}   "
            f"memory {one['resident_mib'][0][1]:.0f} -> {one['resident_mib'][-1][1]:.0f} MiB, "
            f"{one['grown_in_the_second_half_mib']:+.1f} in the second half   lost {one['lost_in_metrics']:.0f}"
        )


def ratio(on: list[dict[str, float]], off: list[dict[str, float]], key: str) -> float:
    """Median over the rounds of on over off."""
    return round(median(a[key] / b[key] for a, b in zip(on, off, strict=True)), 3)


if __name__ == "__main__":
    main()
