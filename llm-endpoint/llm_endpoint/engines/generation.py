"""One answer under way on a core of this machine."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence

from llm_endpoint.engines.seam import MERGE_SECONDS, Delta, FinishReason, Sampling, Usage
from llm_endpoint.engines.text import AnswerText
from llm_endpoint.errors import EndpointError


class LocalGeneration:
    """Tokens come in from the engine's thread through the event loop, and go out as text.

    Args:
        key: Of the request, unique in its engine.
        prompt_ids: What is continued.
        text: Decodes the answer.
        forget: Called with the key when the work is to stop.
    """

    def __init__(
        self, key: int, prompt_ids: list[int], sampling: Sampling, text: AnswerText, forget: Callable[[int], None]
    ) -> None:
        self.key, self.prompt_ids, self.sampling = key, prompt_ids, sampling
        self.usage = Usage(prompt_tokens=len(prompt_ids))
        self.finish_reason: FinishReason | None = None
        self._text, self._forget = text, forget
        self._tokens: list[int] = []
        self._done = False
        self._error: EndpointError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._merging = False
        """Waits for the end of a merge, not for the next token."""

    def cancel(self) -> None:
        """Stop the work; harmless when it has ended."""
        if not self._done:
            self.finish_reason = self.finish_reason or "cancelled"
            self._done = True
            self._forget(self.key)
            self._wake()

    def receive(self, tokens: Sequence[int], done: FinishReason | None, error: EndpointError | None) -> None:
        """Take what a step brought; runs in the event loop."""
        if self._done:
            return
        self._tokens.extend(tokens)
        self.finish_reason, self._error = done, error
        self._done = done is not None or error is not None
        self._wake()

    async def __aiter__(self) -> AsyncIterator[Delta]:
        """Pieces of the answer; the first at once, later ones merged."""
        sent_at = 0.0
        while True:
            if not self._tokens and not self._done:
                await self._wait(None)
            rest = sent_at + MERGE_SECONDS - time.monotonic()
            if rest > 0 and not self._done:
                await self._wait(rest)
            tokens, self._tokens = self._tokens, []
            done = self._done
            self.usage.completion_tokens += len(tokens)
            piece = self._text.add(tokens, done)
            sent_at = time.monotonic()
            if piece or tokens:
                yield Delta(piece, len(tokens))
            if self._text.ended:
                self.finish_reason = "stop"
                self.cancel()
                return
            if done:
                if self._error is not None:
                    raise self._error
                return

    async def _wait(self, seconds: float | None) -> None:
        """Until more tokens (no limit) or the end (with a limit) come."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        self._waiter = waiter
        timer = loop.call_later(seconds, _resolve, waiter) if seconds is not None else None
        self._merging = seconds is not None
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and (self._done or not self._merging):
            _resolve(self._waiter)


def _resolve(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
