"""A classification head served to 32 clients at once, against one request at a time.

python -m benchmarks.head_serving [--requests N] [--rounds N]

Three servers on the same weights and threads take turns, each with the same texts: ours with ONNX Runtime, ours with
PyTorch, and the peer, FastAPI around `transformers.pipeline`, which answers one request at a time
(benchmarks/head_peer.py). Ours is the whole server: KServe's V1 protocol, limits, metrics, telemetry. Each is asked by
32 clients and by one; every client waits for its answer before it asks again. Every label must be the peer's.
"""

import argparse
import asyncio
import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.fixed_answer import request_bytes
from benchmarks.load_client import Reply, connect, percentile
from benchmarks.random_encoder import make_model, make_rows
from benchmarks.server_process import ServerProcess, free_port, machine
from components.core.heads.onnx import export_onnx
from components.core.registry.manifest import write_manifest
from components.core.settings import Settings

RESULT = Path(__file__).parent / "results" / "head_serving.json"
PATH = "/v1/models/model:predict"
CLIENTS = 32
PEER = "peer"


def start(folder: Path, work: Path, stack: ExitStack) -> dict[str, ServerProcess]:
    """The servers by name."""
    port = free_port()
    peer = ["benchmarks.head_peer", "--port", str(port), "--model", str(folder)]
    servers = {PEER: ServerProcess(peer, port, "/readyz", work)}
    for name, engine in (("onnxruntime", "onnxruntime"), ("pytorch", "transformers")):
        port = free_port()
        settings = {
            "MODEL": str(folder), "SERVED_MODEL_NAME": "model", "ENGINE": engine, "HOST": "127.0.0.1",
            "HTTP_PORT": str(port), "WHETSTONE_HOME": str(work),
        }  # fmt: skip
        servers[name] = ServerProcess(["llm_endpoint"], port, "/readyz", work, settings)
    for server in servers.values():
        stack.enter_context(server)
    return servers


async def ask_all(port: int, requests: list[bytes], clients: int) -> list[Reply]:
    """Send every request, so many at once; the replies in the order of the requests.

    Raises:
        RuntimeError: If one is not answered.
    """
    replies: dict[int, Reply] = {}
    places = iter(range(len(requests)))

    async def one() -> None:
        connection = await connect(port)
        for place in places:
            replies[place] = await connection.ask(requests[place])
            if replies[place].status != 200:
                raise RuntimeError(f"status {replies[place].status}: {replies[place].body[:200]!r}")
        connection.close()

    await asyncio.gather(*(one() for _ in range(clients)))
    return [replies[place] for place in range(len(requests))]


def measure(server: ServerProcess, requests: list[bytes], clients: int) -> tuple[dict[str, float], list[str]]:
    """Requests per second and latency of one turn, and the labels."""
    cpu, began = server.cpu_seconds(), time.perf_counter()
    replies = asyncio.run(ask_all(server.port, requests, clients))
    seconds = time.perf_counter() - began
    times = [reply.total_seconds for reply in replies]
    figures = {
        "requests_per_second": len(requests) / seconds,
        "p50_ms": percentile(times, 0.5) * 1000,
        "p99_ms": percentile(times, 0.99) * 1000,
        "cpu_ms_per_request": (server.cpu_seconds() - cpu) / len(requests) * 1000,
    }
    return figures, [json.loads(reply.body)["predictions"][0]["label"] for reply in replies]


def run(count: int, rounds: int) -> dict[str, Any]:
    """All turns; medians of every figure, and ratios of requests per second."""
    rows = make_rows(count)
    requests = [request_bytes(PATH, {"instances": [{"text": row["text"]}]}) for row in rows]
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    labels: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name) / "model"
        make_model(folder, rows)
        export_onnx(folder, rows[:200], "none", Settings())
        info = {"format": 1, "name": "random-encoder", "task": "single_label", "method": "full", "base_model": {}}
        (folder / "model_info.json").write_text(json.dumps(info), encoding="utf-8")
        write_manifest(folder, sorted(file.name for file in folder.iterdir()))
        servers = start(folder, Path(name), stack)
        for process in servers.values():
            asyncio.run(ask_all(process.port, requests[:200], CLIENTS))  # warms up
        for number in range(rounds):
            for server, clients in ((server, clients) for server in servers for clients in (CLIENTS, 1)):
                figures, labels[server] = measure(servers[server], requests, clients)
                found.setdefault((server, clients), []).append(figures)
                print(f"  {server:<12} {clients:3} clients, round {number + 1}: "
                      f"{figures['requests_per_second']:7.1f} requests/s", flush=True)  # fmt: skip
    medians = {
        f"{server}, {clients} clients": {key: round(median(turn[key] for turn in turns), 2) for key in turns[0]}
        for (server, clients), turns in found.items()
    }
    speed = {key: figures["requests_per_second"] for key, figures in medians.items()}
    return {
        "requests": count,
        "rounds": rounds,
        "medians": medians,
        "at_once_over_peer": {
            server: round(speed[f"{server}, {CLIENTS} clients"] / speed[f"{PEER}, {CLIENTS} clients"], 2)
            for server in ("onnxruntime", "pytorch")
        },
        "at_once_over_own_one_client": {
            server: round(speed[f"{server}, {CLIENTS} clients"] / speed[f"{server}, 1 clients"], 2) for server in labels
        },
        "same_labels_as_peer": {
            server: sum(a == b for a, b in zip(labels[PEER], own, strict=True)) / count
            for server, own in labels.items()
        },
    }


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description="A head served to many clients at once.")
    parser.add_argument("--requests", type=int, default=1000, help="of each turn")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    facts = machine()
    result = {"machine": facts} | run(given.requests, given.rounds)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for name, figures in result["medians"].items():
        print(f"{name:<24} {figures['requests_per_second']:8.1f} requests/s   p50 {figures['p50_ms']:7.1f} ms   "
              f"p99 {figures['p99_ms']:7.1f} ms   {figures['cpu_ms_per_request']:6.2f} ms of processor")  # fmt: skip
    print(f"{CLIENTS} clients, over the peer (one request at a time): {result['at_once_over_peer']} (goal >= 4)")
    print(f"{CLIENTS} clients over one client of the same server: {result['at_once_over_own_one_client']}")
    print(f"the peer's label: {result['same_labels_as_peer']}")


if __name__ == "__main__":
    main()
