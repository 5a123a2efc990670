"""One answer of two engines: who speaks first, who goes on, and whose words they are."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING

from llm_endpoint.engines.fallback.failures import is_callers, reason_of
from llm_endpoint.engines.seam import Delta, EngineInfo, FinishReason, Generation, GenerationRequest, Handover, Usage
from llm_endpoint.errors import EndpointError, UpstreamError

if TYPE_CHECKING:
    from llm_endpoint.engines.fallback.engine import FallbackEngine


class _Head:
    """The first piece of a running answer, waited for in a task."""

    def __init__(self, generation: Generation) -> None:
        self.generation = generation
        self.pieces = aiter(generation)
        self.task = asyncio.ensure_future(next_piece(self.pieces))

    def drop(self) -> None:
        """Stop it; harmless when it has ended."""
        self.generation.cancel()
        if not self.task.done():
            self.task.cancel()
        elif not self.task.cancelled():
            self.task.exception()


async def next_piece(pieces: AsyncIterator[Delta]) -> Delta | None:
    """The next piece; None at the end."""
    return await anext(pieces, None)


class FallbackGeneration:
    """One running answer of a chain.

    Args:
        chain: Of the two engines.
        request: As the primary is asked.
        primary: Running there; None: only the stand-in answers.
        stand_in: Running there from the start.
        reason: Why it does.
    """

    def __init__(
        self,
        chain: "FallbackEngine",
        request: GenerationRequest,
        primary: Generation | None,
        stand_in: Generation | None = None,
        reason: str = "",
    ) -> None:
        self._chain, self._request, self.reason = chain, request, reason
        self._primary, self._stand_in = primary, stand_in
        self.answered_by: tuple[EngineInfo, ...] = ()
        self._speakers: list[Generation] = []
        """Those whose words are in the answer."""
        self._hedge: _Head | None = None
        """The stand-in, since the primary was late or failed."""
        self._hedged = self._undecided = self._lost = False
        """It joined because the primary was late; nobody has spoken yet; it was first."""
        self._cancelled = self._stalled = False
        self._waiting_since: float | None = None

    @property
    def usage(self) -> Usage:
        """Tokens of all whose words are in the answer."""
        total = Usage()
        for one in self._speakers:
            total.prompt_tokens += one.usage.prompt_tokens
            total.completion_tokens += one.usage.completion_tokens
            total.cached_tokens += one.usage.cached_tokens
        return total

    def shares(self) -> list[tuple[EngineInfo, Usage]]:
        """Tokens of each whose words are in the answer."""
        return list(zip(self.answered_by, (one.usage for one in self._speakers), strict=True))

    @property
    def finish_reason(self) -> FinishReason | None:
        """Of who spoke last."""
        if self._cancelled:
            return "cancelled"
        return self._speakers[-1].finish_reason if self._speakers else None

    def cancel(self) -> None:
        """Stop both; harmless when the answer has ended."""
        for one in (self._primary, self._stand_in):
            if one is not None:
                one.cancel()
        if not self._speakers or self._speakers[-1].finish_reason in (None, "cancelled"):
            self._cancelled = True

    async def __aiter__(self) -> AsyncIterator[Delta]:
        """Pieces in order; one with a handover stands before the words of another model."""
        if self._primary is None:
            assert self._stand_in is not None
            self._speaks(self._stand_in)
            async for delta in self._stand_in:
                yield delta
            return
        pieces = aiter(self._primary)
        first = await self._first(pieces)
        if self._hedge is not None:
            self._speaks(self._hedge.generation)
            while first is not None:
                yield first
                first = await next_piece(self._hedge.pieces)
            return
        self._speaks(self._primary)
        said: list[str] = []
        tokens = 0
        broken: EndpointError | None = None
        self._timer = asyncio.get_running_loop().call_later(self._chain.stall_seconds, self._look)
        try:
            piece = first
            while piece is not None:
                said.append(piece.text)
                tokens += piece.tokens
                yield piece
                self._waiting_since = time.monotonic()
                piece = await next_piece(pieces)
                self._waiting_since = None
        except EndpointError as error:
            broken = error
        finally:
            self._timer.cancel()
        if broken is None and not self._stalled:
            if not self._cancelled:
                self._chain.note_success()
            return
        async for delta in self._go_on("".join(said), tokens, broken):
            yield delta

    async def _go_on(self, said: str, tokens: int, broken: EndpointError | None) -> AsyncIterator[Delta]:
        """What the stand-in says after the primary broke off.

        Raises:
            EndpointError: The primary's own, where nobody can go on.
        """
        reason = "stalled" if self._stalled else "cut"
        self._chain.note_failure(broken, reason)
        broken = broken or UpstreamError("the model server fell silent before the answer was complete.")
        anew = not self._request.streamed
        local = self._chain.stand_in.info.source == "local"
        if not anew and not local:
            raise broken
        try:
            request = self._request if anew else _continued(self._request, said, tokens)
            generation = self._stand_in = self._chain.ask_stand_in(request)
        except EndpointError:
            raise broken from None
        if anew:
            self._speakers, self.answered_by = [], ()
        self.reason = reason
        self._speaks(generation)
        self._chain.count("handover", reason)
        yield Delta("", 0, Handover(self._chain.stand_in.info.source, reason, anew))
        async for delta in generation:
            yield delta

    async def _first(self, pieces: AsyncIterator[Delta]) -> Delta | None:
        """The first piece of whoever speaks first; of the hedge, if there is one afterwards.

        The primary is waited for without a task of its own, which would cost every answer a turn of the event loop: a
        stand-in that was first hangs up on it, and that ends the wait.

        Raises:
            EndpointError: If both fail, or the request is wrong.
        """
        chain, loop = self._chain, asyncio.get_running_loop()
        timer = loop.call_later(chain.first_token_seconds, self._join_late, loop.time())
        first: Delta | None = None
        failure: EndpointError | None = None
        self._undecided = True
        try:
            first = await next_piece(pieces)
        except EndpointError as error:
            failure = error
        except BaseException:
            self.cancel()
            self._drop_hedge()
            raise
        finally:
            self._undecided = False
            timer.cancel()
        if self._lost:
            chain.count("call", "slow")
            return await self._first_of_hedge(None)
        if failure is None:
            if self._hedge is not None:
                chain.count("hedge", "primary")
                self._drop_hedge()
            if not self._cancelled:
                chain.note_begin()
            return first
        if is_callers(failure):
            self._drop_hedge()
            raise failure
        reason = reason_of(failure)
        chain.note_failure(failure, reason)
        if self._hedge is None:
            self._join(reason)
        return await self._first_of_hedge(failure)

    async def _first_of_hedge(self, failure: EndpointError | None) -> Delta | None:
        """Raises: the primary's failure, if the stand-in fails, too."""
        if self._hedge is None:
            assert failure is not None
            raise failure
        try:
            first = await self._hedge.task
        except EndpointError as error:
            raise (failure or error) from error
        except BaseException:
            self._drop_hedge()
            raise
        if self._hedged:
            self._chain.count("hedge", "stand_in")
        return first

    def _join_late(self, began: float) -> None:
        """The primary has been silent for too long: the stand-in runs, too."""
        if self._cancelled:
            return
        self._hedged = True
        self._chain.note_late(began)
        self._join("slow")
        if self._hedge is not None:
            self._hedge.task.add_done_callback(self._note_hedge)

    def _note_hedge(self, task: "asyncio.Task[Delta | None]") -> None:
        if self._undecided and not self._cancelled and not task.cancelled() and task.exception() is None:
            assert self._primary is not None
            self._lost = True
            self._primary.cancel()

    def _join(self, reason: str) -> None:
        """The stand-in runs, too; where it cannot, the primary is all there is."""
        try:
            self._stand_in = self._chain.ask_stand_in(self._request)
        except EndpointError:
            return
        self.reason, self._hedge = reason, _Head(self._stand_in)

    def _drop_hedge(self) -> None:
        if self._hedge is not None:
            self._hedge.drop()
            self._hedge, self.reason = None, ""

    def _speaks(self, generation: Generation) -> None:
        self._speakers.append(generation)
        engine = self._chain.primary if generation is self._primary else self._chain.stand_in
        self.answered_by = (*self.answered_by, engine.info)

    def _look(self) -> None:
        """Hang up on a primary that says nothing for too long; time in which the caller reads does not count."""
        assert self._primary is not None
        limit, since = self._chain.stall_seconds, self._waiting_since
        if since is not None and time.monotonic() - since >= limit:
            self._stalled = not self._cancelled
            self._primary.cancel()
        else:
            self._timer = asyncio.get_running_loop().call_later(limit / 2, self._look)


def _continued(request: GenerationRequest, said: str, tokens: int) -> GenerationRequest:
    """The request for what is left of an answer."""
    left = max(1, request.sampling.max_new_tokens - tokens)
    stand_in = request.stand_in

    def shorter() -> GenerationRequest:
        own = stand_in() if stand_in else request
        return replace(own, sampling=replace(own.sampling, max_new_tokens=left))

    return replace(request, stand_in=shorter, answer_start=said)
