"""One answer under way on a core of this machine."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence

from llm_endpoint.engines.seam import Delta, FinishReason, Sampling, Usage, merge_seconds
from llm_endpoint.engines.text import AnswerText
from llm_endpoint.engines.variant import Variant
from llm_endpoint.errors import EndpointError


class LocalGeneration:
    """Tokens come in from the engine's thread, and go out as text in the event loop.

    Args:
        key: Of the request, unique in its engine.
        variant: Of the model, that was asked.
        prompt_ids: What is continued.
        text: Decodes the answer.
        forget: Called with the key when the work is to stop.
        running: How many answers run now.
    """

    def __init__(
        self,
        key: int,
        variant: Variant,
        prompt_ids: list[int],
        sampling: Sampling,
        text: AnswerText,
        forget: Callable[[int], None],
        running: Callable[[], int],
    ) -> None:
        self.key, self.variant, self.prompt_ids, self.sampling = key, variant, prompt_ids, sampling
        self.usage = Usage(prompt_tokens=len(prompt_ids))
        self.finish_reason: FinishReason | None = None
        self._text, self._forget, self._running = text, forget, running
        self._tokens: deque[Sequence[int]] = deque()
        self._outcome: tuple[FinishReason | None, EndpointError | None] | None = None
        """How it ended, set by the engine's thread after its last tokens."""
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None
        self._merging = False
        """Waits for the end of a merge, not for the next token."""

    def cancel(self) -> None:
        """Stop the work; harmless when it has ended."""
        if not self._ended:
            self.finish_reason = self.finish_reason or "cancelled"
            self._ended = True
            self._forget(self.key)
            self.wake()

    def receive(self, tokens: Sequence[int], done: FinishReason | None, error: EndpointError | None) -> bool:
        """Take what a step brought; runs in the engine's thread, where it only leaves it.

        Returns:
            Whether somebody waits for it: `wake` is to be called in the event loop then. Most tokens wait for the end
            of a merge, and waking the loop for each of them would cost more than all the rest.
        """
        if tokens:
            self._tokens.append(tokens)
        if done is not None or error is not None:
            self._outcome = (done, error)
        return self._wanted()

    def wake(self) -> None:
        """Go on reading, if there is what is waited for; runs in the event loop."""
        if self._waiter is not None and self._wanted():
            _resolve(self._waiter)

    async def __aiter__(self) -> AsyncIterator[Delta]:
        """Pieces of the answer; the first at once, later ones merged."""
        sent_at = 0.0
        while True:
            if not self._tokens and not self._is_over():
                await self._wait(None)
            rest = sent_at + merge_seconds(self._running()) - time.monotonic()
            if rest > 0 and not self._is_over():
                await self._wait(rest)
            # looked at before the tokens: what comes with the end is there when the end is
            outcome, over = self._outcome, self._is_over()
            tokens = self._take_tokens()
            self.usage.completion_tokens += len(tokens)
            piece = self._text.add(tokens, over)
            sent_at = time.monotonic()
            if piece or tokens:
                yield Delta(piece, len(tokens))
            if self._text.ended:
                self.finish_reason = "stop"
                self.cancel()
                return
            if over:
                if not self._ended and outcome is not None:
                    self._ended = True
                    self.finish_reason, error = outcome
                    if error is not None:
                        raise error
                return

    def _is_over(self) -> bool:
        return self._ended or self._outcome is not None

    def _wanted(self) -> bool:
        """Whether the reader waits for what is there now."""
        return self._waiter is not None and (self._is_over() or (bool(self._tokens) and not self._merging))

    def _take_tokens(self) -> list[int]:
        tokens: list[int] = []
        while self._tokens:
            tokens.extend(self._tokens.popleft())
        return tokens

    async def _wait(self, seconds: float | None) -> None:
        """Until more tokens (no limit) or the end (with a limit) come."""
        loop = asyncio.get_running_loop()
        self._merging = seconds is not None
        waiter = self._waiter = loop.create_future()
        timer = loop.call_later(seconds, _resolve, waiter) if seconds is not None else None
        try:
            # what came before there was a waiter has woken nobody
            if not self._wanted():
                await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()


def _resolve(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
