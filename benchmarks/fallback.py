"""What a stand-in costs while the service is well, and what users feel when it is not.

    python -m benchmarks.fallback [--pairs N] [--outage-seconds S] [--only added outage]

added: the plain remote engine and the chain around another one take turns, request by request, before one upstream that
says a fixed answer at a fixed pace over real HTTP; the median difference within the pairs is what the chain adds. (Two
servers in turn differ by more than that on a busy machine.)
outage: the drill's scripted service and traffic; the p95 of the minute from the first moment of an outage on, over the
p95 of the time before. The goal is at most twice. Its local model is the starter, which
is small and quick: with a larger one the outage is as slow as that model.
"""

import argparse
import asyncio
import importlib
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "llm-endpoint"))

from llm_endpoint.breaker import Breaker  # noqa: E402
from llm_endpoint.engines.fallback import FallbackEngine  # noqa: E402
from llm_endpoint.engines.local import LocalEngine  # noqa: E402
from llm_endpoint.engines.remote import RemoteEngine  # noqa: E402
from llm_endpoint.engines.seam import Engine, EngineInfo, GenerationRequest, Message, who_answered  # noqa: E402
from llm_endpoint.served.encoding import PromptEncoder  # noqa: E402

from benchmarks.fixed_answer import STARTER, answer_ids, context  # noqa: E402
from benchmarks.load_client import percentile  # noqa: E402
from benchmarks.server_process import ServerProcess, free_port, machine  # noqa: E402
from benchmarks.stub_endpoint import PacedCore  # noqa: E402

RESULT = Path(__file__).parent / "results" / "fallback.json"
TOKENS, PACE_SECONDS = 16, 0.01
OUTAGES = ["refused", "hang", "cut"]
GOAL_MS, GOAL_RATIO = 1.0, 2.0


def measure_added(pairs: int) -> dict[str, Any]:
    """Milliseconds that the chain adds to the first token and to the whole answer."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        paced = ["--port", str(port), "--tokens", str(TOKENS), "--pace", str(PACE_SECONDS)]
        with ServerProcess(["benchmarks.stub_upstream", *paced], port, "/v1/models", Path(folder)):
            return asyncio.run(_added(f"http://127.0.0.1:{port}/v1", pairs))


async def _added(url: str, pairs: int) -> dict[str, Any]:
    def remote(backed: bool) -> RemoteEngine:
        return RemoteEngine(url, None, None, 60.0, 16, 16, backed)

    encoder = PromptEncoder(STARTER, in_chat=False)
    info = EngineInfo("stub", "stub", "0", 8192, "none")
    local = LocalEngine(lambda: PacedCore(answer_ids(TOKENS), PACE_SECONDS), encoder, lambda _: info, False, 16)
    plain: Engine = remote(False)
    chain = FallbackEngine(remote(True), local, Breaker(2, 10.0), 5.0, 5.0, lambda *_: None)
    await plain.start()
    await chain.start()
    try:
        found = []
        for number in range(-20, pairs):
            order: list[tuple[str, Engine]] = [("plain", plain), ("chain", chain)]
            turn = {name: await _time(engine) for name, engine in (order if number % 2 else order[::-1])}
            if number >= 0:  # the first ones only warm up
                found.append(turn)
    finally:
        await plain.stop()
        await chain.stop()
    result: dict[str, Any] = {"pairs": pairs}
    for at, name in enumerate(("first_ms", "whole_ms")):
        gaps = [turn["chain"][at] - turn["plain"][at] for turn in found]
        parts = {"median": median(gaps), "p25": percentile(gaps, 0.25), "p75": percentile(gaps, 0.75)}
        parts["plain_median"] = median(turn["plain"][at] for turn in found)
        result[name] = {key: round(value, 3) for key, value in parts.items()}
    return result


async def _time(engine: Engine) -> tuple[float, float]:
    began, first = time.perf_counter(), 0.0
    generation = engine.submit(GenerationRequest((Message("user", context()),), streamed=True))
    async for _ in generation:
        first = first or time.perf_counter()
    assert [info.source for info in who_answered(engine, generation)] == ["service"], "the stand-in has answered"
    return 1000 * (first - began), 1000 * (time.perf_counter() - began)


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
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--outage-seconds", type=float, default=60.0)
    parser.add_argument("--only", nargs="+", choices=["added", "outage"], default=["added", "outage"])
    given = parser.parse_args()
    result: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    result["machine"] = machine()
    if "added" in given.only:
        result["added"] = added = measure_added(given.pairs)
        print(f"\nadded by the chain while the service is well, {given.pairs} pairs (goal <= {GOAL_MS:g} ms)")
        for name, what in (("first_ms", "first token"), ("whole_ms", "whole answer")):
            one = added[name]
            print(
                f"  {what:<13}{one['median']:+.2f} ms (middle half {one['p25']:+.2f} to {one['p75']:+.2f}) "
                f"over {one['plain_median']:.1f} ms"
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
