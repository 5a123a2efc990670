"""One answer under way at an OpenAI-compatible server."""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from typing import Any

from llm_endpoint.engines.seam import MERGE_SECONDS, Delta, FinishReason, GenerationRequest, Usage
from llm_endpoint.errors import EndpointError


class RemoteGeneration:
    """One answer under way at the upstream."""

    def __init__(self, request: GenerationRequest) -> None:
        self.request = request
        self.usage = Usage()
        self.finish_reason: FinishReason | None = None
        self.error: EndpointError | None = None
        self.task: asyncio.Task[None] | None = None
        self.started = False
        """A token has come, so nothing may be tried again."""
        self._ended = False
        self._pieces: list[str] = []
        self._news = asyncio.Event()

    def cancel(self) -> None:
        """Hang up; harmless when the answer has ended."""
        if self.task is not None and not self.task.done():
            self.finish_reason = "cancelled"
            self.task.cancel()

    def take(self, chunk: Any) -> None:
        """Take one chunk of the upstream's stream, of a chat or of a text."""
        if chunk.usage is not None:
            details = getattr(chunk.usage, "prompt_tokens_details", None)
            cached = getattr(details, "cached_tokens", None) or 0
            self.usage.prompt_tokens = chunk.usage.prompt_tokens or 0
            self.usage.completion_tokens = chunk.usage.completion_tokens or 0
            self.usage.cached_tokens = cached
        for choice in chunk.choices:
            text = choice.text if self.request.text is not None else choice.delta.content
            if text:
                self.started = True
                # replaced by the server's own count at the end
                self.usage.completion_tokens += 1
                self._pieces.append(str(text))
                self._news.set()
            if choice.finish_reason is not None:
                self.finish_reason = "length" if choice.finish_reason == "length" else "stop"

    def end(self) -> None:
        """Nothing more will come; the engine calls it when its place is free again."""
        self._ended = True
        self._news.set()

    async def __aiter__(self) -> AsyncIterator[Delta]:
        """Pieces of the answer; the first at once, later ones merged."""
        assert self.task is not None
        sent_at = -math.inf
        while True:
            await self._news.wait()
            rest = sent_at + MERGE_SECONDS - time.monotonic()
            if rest > 0 and not self._ended:
                await asyncio.wait([self.task], timeout=rest)
            self._news.clear()
            pieces, self._pieces = self._pieces, []
            ended = self._ended
            if pieces:
                sent_at = time.monotonic()
                yield Delta("".join(pieces), len(pieces))
            if ended:
                if self.error is not None:
                    raise self.error
                if not self.task.cancelled():
                    self.task.result()
                return
