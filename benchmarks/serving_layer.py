"""What the serving layer costs: processor seconds per token and request, and the latency that it adds.

    python -m benchmarks.serving_layer [--rounds N] [--streams N] [--only NAME ...]

Ours is the real server (KServe, guards, the chain prompt | llm | StrOutputParser, evidence, server-sent events) around
a core that emits fixed tokens: `/generate`, OpenAI's chat, and `relay`, the same server before the OpenAI-compatible
server that the peer relays. The peer is FastAPI with ChatPromptTemplate | ChatOpenAI | StrOutputParser. The servers
take turns; only the server's own process counts, neither the client nor the upstream.

Added latency: the first content, from the request to its first byte, because the first token is there at once; the last
content and the whole answer (its evidence, usage and end included), beyond (tokens - 1) * pace. Middle tokens may wait
to be merged into one piece, which is by design; `tokens_per_piece` says how many share one.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.fixed_answer import (
    OWN_SECONDS,
    QUESTION,
    STARTER,
    SYSTEM,
    answer_pieces,
    context,
    question_body,
    request_bytes,
)
from benchmarks.load_client import Reply, drive, percentile
from benchmarks.server_process import ServerProcess, free_port, machine

RESULT = Path(__file__).parent / "results" / "serving_layer.json"
PEER = "peer"


@dataclass(frozen=True)
class Load:
    """One kind of traffic."""

    tokens: int
    """Of each answer."""
    pace_seconds: float
    """Between two tokens of an answer."""
    requests: int
    """Per round."""
    spread: float
    """Over this share of an answer's time the streams begin; 0: all at the same moment."""
    meaning: str


LOADS = {
    "steady": Load(
        32, 0.06, 160, 1.0, "60 ms a token: slow enough that the peer keeps up, so that latency can be compared"
    ),
    "usual": Load(64, 0.02, 128, 1.0, "20 ms a token, as a GPU serves"),
    "fast": Load(128, 0.002, 128, 0.0, "2 ms a token, all begin at once: cost per token"),
    "short": Load(6, 0.002, 384, 0.0, "answers of 6 tokens, all begin at once: cost per request"),
}


def start(load: Load, folder: Path, stack: ExitStack) -> dict[str, tuple[ServerProcess, bytes, bytes]]:
    """All servers for one kind of traffic, with the request that each gets and the marker of its content."""
    paced = ["--tokens", str(load.tokens), "--pace", str(load.pace_seconds)]
    upstream_port = free_port()
    stack.enter_context(
        ServerProcess(
            ["benchmarks.stub_upstream", "--port", str(upstream_port), *paced], upstream_port, "/v1/models", folder
        )
    )
    upstream = f"http://127.0.0.1:{upstream_port}/v1"

    def endpoint(arguments: list[str], **environment: str) -> ServerProcess:
        port = free_port()
        settings = {"HOST": "127.0.0.1", "HTTP_PORT": str(port), "WHETSTONE_HOME": str(folder), "MAX_RUNNING": "64"}
        return stack.enter_context(ServerProcess(arguments, port, "/readyz", folder, settings | environment))

    stub = endpoint(["benchmarks.stub_endpoint", *paced], MODEL=str(STARTER))
    relay = endpoint(["llm_endpoint"], ENGINE="openai", OPENAI_BASE_URL=upstream)
    port = free_port()
    peer = stack.enter_context(
        ServerProcess(["benchmarks.relay_peer", "--port", str(port), "--upstream", upstream], port, "/readyz", folder)
    )
    generate = request_bytes("/generate", question_body(stream=True))
    messages = [{"role": "system", "content": f"{SYSTEM}\n{context()}"}, {"role": "user", "content": QUESTION}]
    chat = request_bytes("/openai/v1/chat/completions", {"messages": messages, "stream": True})
    return {
        "generate": (stub, generate, b'"delta"'),
        "chat": (stub, chat, b'"delta":{"content":"'),
        "relay": (relay, generate, b'"delta"'),
        PEER: (peer, generate, b'"delta"'),
    }


def measure(
    server: ServerProcess, request: bytes, marker: bytes, load: Load, streams: int, expected: str
) -> dict[str, float]:
    """One turn of one server.

    Raises:
        SystemExit: If an answer is not the expected one.
    """
    before = _layer_seconds(server)
    replies = asyncio.run(
        drive(server.port, request, streams, load.requests, marker, load.spread * load.tokens * load.pace_seconds)
    )
    cpu = _layer_seconds(server) - before
    pieces = [check(reply, expected) for reply in replies]
    paced = (load.tokens - 1) * load.pace_seconds
    added = {
        "first": [reply.first_seconds or 0.0 for reply in replies],
        "last": [(reply.last_seconds or 0.0) - paced for reply in replies],
        "whole": [reply.total_seconds - paced for reply in replies],
    }
    began, ended = (
        min(reply.began for reply in replies), max(reply.began + reply.total_seconds for reply in replies)
    )  # fmt: skip
    return {
        "cpu_us_per_token": cpu / (load.requests * load.tokens) * 1e6,
        "cpu_ms_per_request": cpu / load.requests * 1e3,
        "cores": cpu / (ended - began),
        **{
            f"{name}_ms_p{share}": percentile(values, share / 100) * 1000
            for name, values in added.items()
            for share in (50, 99)
        },
        "tokens_per_piece": load.requests * load.tokens / sum(pieces),
    }


def _layer_seconds(server: ServerProcess) -> float:
    """Processor time of a server without the stub core's own, which has to look up every millisecond."""
    return server.cpu_seconds() - server.metric(OWN_SECONDS)


def check(reply: Reply, expected: str) -> int:
    """Number of pieces of a right answer."""
    pieces = reply.pieces()
    if reply.status != 200 or "".join(pieces).strip() != expected:
        sys.exit(f"error: status {reply.status}, answer {''.join(pieces)[:200]!r} instead of {expected[:200]!r}")
    return len(pieces)


def run_load(name: str, load: Load, rounds: int, streams: int) -> dict[str, Any]:
    """All rounds of one kind of traffic; medians of each figure, and ratios within each round."""
    expected = "".join(answer_pieces(load.tokens)).strip()
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        servers = start(load, Path(folder), stack)
        for number in range(-1, rounds):
            for side, (server, request, marker) in servers.items():
                turn = measure(server, request, marker, load, streams, expected)
                if number >= 0:  # the first round only warms up
                    found.setdefault(side, []).append(turn)
    medians = {
        side: {key: round(median(turn[key] for turn in turns), 3) for key in turns[0]} for side, turns in found.items()
    }
    ratios = {
        side: round(
            median(p["cpu_us_per_token"] / t["cpu_us_per_token"] for p, t in zip(found[PEER], turns, strict=True)), 2
        )
        for side, turns in found.items()
    }
    result = {"load": load.__dict__, "medians": medians, "peer_cpu_over_ours": ratios, "rounds": found}
    print_load(name, load, medians, ratios)
    return result


def print_load(name: str, load: Load, medians: dict[str, dict[str, float]], ratios: dict[str, float]) -> None:
    print(f"\n{name}: {load.tokens} tokens, {load.meaning}")
    print("                                       added ms, p50 and p99")
    print("           us/token ms/request  cores        first         last        whole  tokens/piece  peer/ours")
    for side, m in medians.items():
        added = "".join(f"{m[f'{name}_ms_p50']:7.1f}{m[f'{name}_ms_p99']:6.1f}" for name in ("first", "last", "whole"))
        print(
            f"  {side:<9}{m['cpu_us_per_token']:8.1f}{m['cpu_ms_per_request']:11.2f}{m['cores']:7.2f}{added}"
            f"{m['tokens_per_piece']:14.1f}{ratios[side]:11.2f}",
            flush=True,
        )


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description="The serving layer against FastAPI and LangChain's ChatOpenAI.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", type=int, default=32, help="requests at once")
    parser.add_argument("--only", nargs="+", choices=LOADS, default=list(LOADS), help="kinds of traffic")
    given = parser.parse_args()
    facts = machine()
    loads = {name: run_load(name, LOADS[name], given.rounds, given.streams) for name in given.only}
    result = {"machine": facts, "streams": given.streams, "rounds": given.rounds, "loads": loads}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    fast = loads.get("fast")
    if fast:
        print(f"\ncpu per token, peer over ours: {fast['peer_cpu_over_ours']['generate']:.2f}x (goal >= 5)")
    steady = loads.get("steady")
    if steady:
        ours = steady["medians"]["generate"]
        print(
            f"added latency p99 at {given.streams} streams: first token {ours['first_ms_p99']:.1f} ms, "
            f"last token {ours['last_ms_p99']:.1f} ms (goal <= 5); with the evidence {ours['whole_ms_p99']:.1f} ms"
        )


if __name__ == "__main__":
    main()
