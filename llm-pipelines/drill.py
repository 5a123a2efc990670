"""A drill: `python -m llm-pipelines.drill`: what users see when the service behind the endpoint fails.

The real endpoint (STAND_IN=local) answers steady traffic in front of a scripted service on loopback, which fails in
five ways, one after the other. Exit codes: 0 nobody lost an answer, 3 somebody did, the dead service was asked too
often, or its return was not noticed.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from components.core.errors import EXIT_REFUSED, ConfigError, user_errors
from components.core.settings import load_settings

# mypy cannot follow a folder whose name has a hyphen.
from .drill_service import MODEL, OUTAGES, ScriptedService  # type: ignore[import-not-found]
from .drill_traffic import Seen, Traffic, percentile  # type: ignore[import-not-found]

CALLS_PER_MINUTE = 5
STARTER = Path(__file__).resolve().parents[1] / "components" / "starter" / "model"
_HEADS = ["outage", "asked", "failed", "service", "local", "both*", "p50 s", "p95 s", "first s", "calls**", "back s"]
_NOT_OURS = ("API_KEY", "LANG", "TRACE_", "OPENAI_", "ADAPTERS", "SHADOW_", "WEIGHTS", "ALWAYS_LOCAL")
"""Variables of this shell that would make it another drill."""


@dataclass(frozen=True)
class Phase:
    """One part of the drill."""

    name: str
    seen: list[Seen]
    calls: int | None = None
    """To the dead service while it was dead; None where it was well."""
    seconds: float = 0.0
    recovery_seconds: float | None = None
    """From its return to the first answer that it gave again; None: it did not come."""

    @property
    def failed(self) -> list[Seen]:
        """Users without an answer."""
        return [one for one in self.seen if one.failure]

    @property
    def faults(self) -> list[str]:
        """What must not have happened."""
        found = [f"{self.name}: {one.failure}" for one in self.failed]
        if self.calls is not None and self.calls > CALLS_PER_MINUTE * max(1.0, self.seconds / 60):
            found.append(f"{self.name}: {self.calls} calls to the dead service in {self.seconds:.0f} s")
        if self.name != "well" and self.recovery_seconds is None:
            found.append(f"{self.name}: the service came back and was not asked again")
        return found


def main(
    model: Annotated[str, typer.Option(help="Model that stands in; must have passed its gate.")] = "",
    outages: Annotated[str, typer.Option(help="Which, in order, with commas.")] = ",".join(OUTAGES),
    outage_seconds: Annotated[float, typer.Option(min=1, help="Length of each outage.")] = 6.0,
    well_seconds: Annotated[float, typer.Option(min=1, help="Time without an outage at the beginning.")] = 5.0,
    recovery_seconds: Annotated[float, typer.Option(min=1, help="Longest wait for a recovery.")] = 45.0,
    rate: Annotated[float, typer.Option(min=0.1, help="Requests per second.")] = 4.0,
    first_token_seconds: Annotated[float, typer.Option(min=0.05, help="FIRST_TOKEN_SECONDS of the endpoint.")] = 0.5,
) -> None:
    """Fail the service in each way and print what users saw."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with user_errors():
        wanted = [name for name in outages.split(",") if name]
        if unknown := [name for name in wanted if name not in OUTAGES]:
            raise ConfigError(f"there is no outage {unknown[0]!r}. Use some of {', '.join(OUTAGES)}.")
        with tempfile.TemporaryDirectory() as folder:
            drill = Drill(Path(folder), rate, first_token_seconds)
            phases = asyncio.run(drill.run(model, wanted, well_seconds, outage_seconds, recovery_seconds))
    print_table(phases)
    faults = [fault for phase in phases for fault in phase.faults]
    for fault in faults[:20]:
        print(f"fault: {fault}")
    print("\nNobody lost an answer." if not faults else f"\n{len(faults)} faults.")
    sys.exit(EXIT_REFUSED if faults else 0)


class Drill:
    """One drill.

    Args:
        folder: For logs, and for the model where the starter stands in.
        rate: Requests per second.
        first_token_seconds: Of the endpoint.
    """

    def __init__(self, folder: Path, rate: float, first_token_seconds: float) -> None:
        self._folder, self._rate, self._first = folder, rate, first_token_seconds

    async def run(self, model: str, outages: list[str], well: float, outage: float, recovery: float) -> list[Phase]:
        """All phases in order."""
        from components.core.deployment.local_servers import end_server, start_api

        async with ScriptedService() as service:
            environment = self._environment(model or str(write_stand_in(self._folder / "starter")), service.url)
            print("The service is a script on this machine that says the same words to everybody and fails on command.")
            server = await asyncio.to_thread(start_api, environment, self._folder, 8080)
            traffic = Traffic(server.address, self._rate)
            sending = asyncio.create_task(traffic.run())
            try:
                phases = [await self._well(traffic, well)]
                for name in outages:
                    phases.append(await self._fail(service, traffic, name, outage, recovery))
                traffic.stop()
                await sending
            finally:
                sending.cancel()
                await asyncio.to_thread(end_server, server)
        return phases

    async def _well(self, traffic: Traffic, seconds: float) -> Phase:
        began = time.monotonic()
        await asyncio.sleep(seconds)
        return Phase("well", [one for one in traffic.seen if one.began >= began], seconds=seconds)

    async def _fail(self, service: Any, traffic: Any, name: str, seconds: float, recovery: float) -> Phase:
        print(f"  {name} for {seconds:g} s", flush=True)
        away = await traffic.metric("llm_primary_calls_total", 'outcome="away"')
        began, before = time.monotonic(), len(service.calls)
        await service.switch(name)
        await asyncio.sleep(seconds)
        # connections that were refused are seen by the endpoint alone
        tried = int(await traffic.metric("llm_primary_calls_total", 'outcome="away"') - away)
        calls = tried if name == "refused" else len(service.calls) - before
        ended = time.monotonic()
        await service.switch("ok")
        back = await traffic.until_service(ended, recovery)
        await asyncio.sleep(1.0)  # those that were asked in the outage have their answers
        seen = [one for one in traffic.seen if began <= one.began < ended]
        return Phase(name, seen, calls, ended - began, back)

    def _environment(self, model: str, url: str) -> dict[str, str]:
        from components.core.deployment.local_servers import endpoint_environment

        ours = endpoint_environment(model, load_settings().whetstone_home)
        kept = {name: value for name, value in ours.items() if not name.startswith(_NOT_OURS)}
        return kept | {
            "STAND_IN": "local",
            "OPENAI_BASE_URL": url,
            "OPENAI_MODEL": MODEL,
            "FIRST_TOKEN_SECONDS": str(self._first),
            "STALL_SECONDS": str(2 * self._first),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        }


def write_stand_in(folder: Path) -> Path:
    """The starter's base model as a model folder, with a verdict that only a drill may give."""
    from components.core.registry.manifest import write_manifest

    print("No --model: the untrained starter stands in, with a verdict written for this drill only.")
    folder.mkdir(parents=True)
    for file in STARTER.iterdir():
        shutil.copy(file, folder)
    template = "Context: {context}\nQuestion: {question}\nAnswer:"
    prompt = {"template": template, "chat_template": False, "no_answer_text": "not in the context"}
    verdict = {"status": "passed", "outcome": "better", "headline": "for a drill: nobody has judged this model"}
    info = {"format": 1, "name": "starter-for-a-drill", "task": "context_qa", "verdict": verdict}
    info |= {"generation": {"repetition_penalty": 1.03, "one_line": True}}
    for name, content in (("prompt.json", prompt), ("model_info.json", info)):
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    write_manifest(folder, sorted(file.name for file in folder.iterdir()))
    return folder


def print_table(phases: list[Phase]) -> None:
    """What users saw, a line for each phase."""
    rows = [_HEADS]
    for phase in phases:
        by = [sum(one.source == name and not one.failure for one in phase.seen) for name in ("service", "local")]
        times = [one.seconds for one in phase.seen]
        firsts = [one.first_seconds for one in phase.seen]
        rows.append(
            [
                phase.name,
                str(len(phase.seen)),
                str(len(phase.failed)),
                *map(str, by),
                str(sum("," in one.source for one in phase.seen)),
                f"{percentile(times, 0.5):.2f}",
                f"{percentile(times, 0.95):.2f}",
                f"{percentile(firsts, 0.5):.2f}",
                "-" if phase.calls is None else f"{phase.calls} in {phase.seconds:.0f} s",
                "-" if phase.recovery_seconds is None else f"{phase.recovery_seconds:.1f}",
            ]
        )
    widths = [max(len(row[number]) for row in rows) for number in range(len(_HEADS))]
    print()
    for row in rows:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    print("\n* begun by the service, cut, continued by the local model; the stream says so")
    print(
        f"** to the service while it was dead, at most {CALLS_PER_MINUTE} a minute; back: its first answer after that"
    )


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app(prog_name="python -m llm-pipelines.drill")
