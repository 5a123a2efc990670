"""An engine that says what it is told, for chains: it stands in for a service or a local model; no model runs here."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from llm_endpoint.engines.seam import Delta, EngineInfo, FinishReason, GenerationRequest, Usage
from llm_endpoint.errors import EndpointError

SERVICE = EngineInfo("openai", "big", "unknown", None, "remote")
LOCAL = EngineInfo("scripted", "small", "7", 512, "none", content_sha256="c" * 64)


@dataclass
class Part:
    """One generation's script."""

    words: tuple[str, ...] = ("Paris", " is", " it")
    silence: float = 0.0
    """Seconds before the first word."""
    stall_after: int | None = None
    """Words after which nothing more comes."""
    error: EndpointError | None = None
    error_after: int = 0
    """Words before the error."""


class ScriptedGeneration:
    def __init__(self, part: Part) -> None:
        self.part, self.usage = part, Usage(prompt_tokens=10)
        self.finish_reason: FinishReason | None = None
        self.cancelled = asyncio.Event()

    def cancel(self) -> None:
        if self.finish_reason is None:
            self.finish_reason = "cancelled"
            self.cancelled.set()

    async def _pause(self, seconds: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.cancelled.wait(), seconds)

    async def __aiter__(self) -> AsyncIterator[Delta]:
        part = self.part
        await self._pause(part.silence or 0.001)
        for number, word in enumerate(part.words):
            if self.finish_reason == "cancelled":
                return
            if part.error is not None and number == part.error_after:
                raise part.error
            if part.stall_after == number:
                await self._pause(None)
                return
            self.usage.completion_tokens += 1
            yield Delta(word, 1)
            await asyncio.sleep(0)
        self.finish_reason = self.finish_reason or "stop"


@dataclass
class ScriptedEngine:
    """Answers by `part`; `refuses` is raised by submit, `start_error` by start."""

    info: EngineInfo
    part: Part = field(default_factory=Part)
    refuses: EndpointError | None = None
    start_error: EndpointError | None = None
    asked: list[GenerationRequest] = field(default_factory=list)
    given: list[ScriptedGeneration] = field(default_factory=list)
    stopped: bool = False
    busy: tuple[int, int] = (0, 0)

    async def start(self) -> None:
        if self.start_error is not None:
            raise self.start_error

    def submit(self, request: GenerationRequest) -> ScriptedGeneration:
        if self.refuses is not None:
            raise self.refuses
        self.asked.append(request)
        self.given.append(ScriptedGeneration(self.part))
        return self.given[-1]

    def healthy(self) -> bool:
        return True

    def load(self) -> tuple[int, int]:
        return self.busy

    async def stop(self) -> None:
        self.stopped = True
