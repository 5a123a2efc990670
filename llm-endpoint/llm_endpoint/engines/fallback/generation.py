"""One answer of two engines: who speaks first, who goes on, and whose words they are."""

import asyncio
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
        winner = await self._first()
        if winner.generation is not self._primary:
            async for delta in _rest(winner):
                yield delta
            return
        said: list[str] = []
        tokens = 0
        broken: EndpointError | None = None
        watch = self._watch_silence()
        try:
            piece: Delta | None = winner.task.result()
            while piece is not None:
                said.append(piece.text)
                tokens += piece.tokens
                yield piece
                self._waiting_since = asyncio.get_running_loop().time()
                piece = await next_piece(winner.pieces)
                self._waiting_since = None
        except EndpointError as error:
            broken = error
        finally:
            watch.cancel()
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

    async def _first(self) -> _Head:
        """Whoever speaks first; the stand-in joins when the primary fails or is late.

        Raises:
            EndpointError: If both fail, or the request is wrong.
        """
        assert self._primary is not None
        chain = self._chain
        began = asyncio.get_running_loop().time()
        primary = _Head(self._primary)
        heads, failure, hedged = [primary], None, False
        timeout: float | None = chain.first_token_seconds
        try:
            while True:
                tasks = [head.task for head in heads]
                done, _ = await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    timeout, hedged = None, True
                    chain.note_late(began)
                    self._join(heads, "slow")
                    continue
                for head in [head for head in heads if head.task in done]:
                    error = head.task.exception()
                    if error is None:
                        return self._won(head, heads, hedged)
                    if not isinstance(error, EndpointError) or (head is primary and is_callers(error)):
                        raise error
                    failure = error if head is primary else failure or error
                    heads.remove(head)
                    if head is primary:
                        timeout = None
                        chain.note_failure(error, reason_of(error))
                        if self._stand_in is None:
                            self._join(heads, reason_of(error))
                if not heads:
                    assert failure is not None
                    raise failure
        except BaseException:
            for head in (primary, *heads):
                head.drop()
            raise

    def _join(self, heads: list[_Head], reason: str) -> None:
        """The stand-in runs, too; where it cannot, the primary is all there is."""
        try:
            self._stand_in = self._chain.ask_stand_in(self._request)
        except EndpointError:
            return
        self.reason = reason
        heads.append(_Head(self._stand_in))

    def _won(self, winner: _Head, heads: list[_Head], hedged: bool) -> _Head:
        for head in heads:
            if head is not winner:
                head.drop()
        by_primary = winner.generation is self._primary
        if by_primary:
            self.reason = ""
            if not self._cancelled:
                self._chain.note_begin()
        elif any(head.generation is self._primary for head in heads):
            self._chain.count("call", "slow")
        if hedged:
            self._chain.count("hedge", "primary" if by_primary else "stand_in")
        self._speaks(winner.generation)
        return winner

    def _speaks(self, generation: Generation) -> None:
        self._speakers.append(generation)
        engine = self._chain.primary if generation is self._primary else self._chain.stand_in
        self.answered_by = (*self.answered_by, engine.info)

    def _watch_silence(self) -> "_Watch":
        """Hang up on a primary that says nothing for too long; time in which the caller reads does not count."""
        limit = self._chain.stall_seconds
        loop = asyncio.get_running_loop()

        def look() -> None:
            since = self._waiting_since
            if since is not None and loop.time() - since >= limit and self._primary is not None:
                self._stalled = not self._cancelled
                self._primary.cancel()
            else:
                watch.timer = loop.call_later(limit / 2, look)

        watch = _Watch(loop.call_later(limit, look))
        return watch


class _Watch:
    def __init__(self, timer: asyncio.TimerHandle) -> None:
        self.timer = timer

    def cancel(self) -> None:
        self.timer.cancel()


async def _rest(head: _Head) -> AsyncIterator[Delta]:
    delta = head.task.result()
    while delta is not None:
        yield delta
        delta = await next_piece(head.pieces)


def _continued(request: GenerationRequest, said: str, tokens: int) -> GenerationRequest:
    """The request for what is left of an answer."""
    left = max(1, request.sampling.max_new_tokens - tokens)
    stand_in = request.stand_in

    def shorter() -> GenerationRequest:
        own = stand_in() if stand_in else request
        return replace(own, sampling=replace(own.sampling, max_new_tokens=left))

    return replace(request, stand_in=shorter, answer_start=said)
