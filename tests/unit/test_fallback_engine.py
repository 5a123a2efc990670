"""The chain of a service and a local model: who answers in each kind of outage, and how often the dead one is asked."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from llm_endpoint.breaker import Breaker
from llm_endpoint.engines.fallback import FallbackEngine
from llm_endpoint.engines.seam import Delta, GenerationRequest, Handover, Message, Sampling
from llm_endpoint.errors import (
    InvalidInput,
    ModelError,
    NotReady,
    RequestTimeout,
    TooManyRequests,
    UpstreamError,
)
from support.scripted_engine import LOCAL, SERVICE, Part, ScriptedEngine

BUSY = TooManyRequests("busy")
BUSY.retry_after = 40
SAID = ("the", " local", " words")


class Bench:
    """A chain with its two scripted engines, a clock of its own for the breaker, and what it counted."""

    def __init__(
        self, service: Part | None = None, first: float = 0.05, stall: float = 0.05, swap: bool = False
    ) -> None:
        self.service = ScriptedEngine(SERVICE, service or Part())
        self.local = ScriptedEngine(LOCAL, Part(SAID))
        self.now = 0.0
        self.counted: list[tuple[str, str]] = []
        self.breaker = Breaker(2, 10.0, lambda: self.now, 30.0)
        pair = (self.local, self.service) if swap else (self.service, self.local)
        self.chain = FallbackEngine(*pair, self.breaker, first, stall, lambda *event: self.counted.append(event))

    async def ask(self, streamed: bool = False, **more: Any) -> tuple[str, str, str]:
        """Text, sources and reason of one answer."""
        generation = self.chain.submit(request(streamed, **more))
        text, self.marks = "", []
        async for delta in generation:
            if delta.handover is not None:
                self.marks.append(delta.handover)
                text = "" if delta.handover.anew else text
            text += delta.text
        self.last = generation
        return text, ",".join(info.source for info in generation.answered_by), generation.reason

    async def settle(self) -> None:
        """Let what runs in the background end."""
        for _ in range(200):
            if not self.chain._tasks:
                return
            await asyncio.sleep(0.005)


def request(streamed: bool = False, **more: Any) -> GenerationRequest:
    return GenerationRequest(
        (Message("user", "Where?"),), sampling=Sampling(max_new_tokens=20), streamed=streamed, **more
    )


def run(bench: Bench, use: Callable[[], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        await bench.chain.start()
        try:
            return await use()
        finally:
            await bench.chain.stop()

    return asyncio.run(asyncio.wait_for(main(), 10))


def test_a_healthy_service_answers_and_the_local_model_is_not_asked() -> None:
    bench = Bench()
    assert run(bench, bench.ask) == ("Paris is it", "service", "")
    assert bench.local.asked == []
    assert bench.counted == [("call", "ok")]
    assert (bench.last.usage.prompt_tokens, bench.last.usage.completion_tokens) == (10, 3)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NotReady("refused"), "away"),
        (TooManyRequests("busy"), "busy"),
        (UpstreamError("500"), "failed"),
        (ModelError("no such model"), "failed"),
        (RequestTimeout("late"), "timeout"),
    ],
)
def test_a_failure_before_the_first_token_is_answered_by_the_local_model(error: Any, reason: str) -> None:
    bench = Bench(Part(error=error))
    assert run(bench, bench.ask) == ("the local words", "local", reason)


def test_a_callers_mistake_is_no_outage() -> None:
    bench = Bench(Part(error=InvalidInput("the prompt is wrong")))
    with pytest.raises(InvalidInput, match="the prompt is wrong"):
        run(bench, bench.ask)
    assert bench.local.asked == []
    assert bench.breaker.state() == "closed"


def test_a_service_that_hangs_is_hedged_and_left_alone_at_once() -> None:
    bench = Bench(Part(silence=5.0))
    assert run(bench, bench.ask) == ("the local words", "local", "slow")
    assert bench.service.given[0].finish_reason == "cancelled"
    assert bench.breaker.state() == "open"
    assert bench.counted == [("call", "slow"), ("hedge", "stand_in")]


def test_a_late_service_that_is_still_first_answers() -> None:
    bench = Bench(Part(silence=0.1))
    bench.local.part = Part(silence=5.0)
    assert run(bench, bench.ask) == ("Paris is it", "service", "")
    assert bench.local.given[0].finish_reason == "cancelled"
    assert ("hedge", "primary") in bench.counted


def test_a_slow_answer_among_quick_ones_does_not_open_the_breaker() -> None:
    bench = Bench(Part(silence=0.2), first=0.1)

    async def use() -> None:
        slow = asyncio.create_task(bench.ask())
        await asyncio.sleep(0.03)
        bench.service.part = Part()
        await bench.ask()
        await slow

    run(bench, use)
    assert bench.breaker.state() == "closed"


def test_a_dead_service_gets_five_calls_in_the_first_minute_and_two_in_later_ones() -> None:
    bench = Bench(Part(error=NotReady("refused")))

    async def use() -> list[int]:
        calls = []
        for second in range(180):
            bench.now = float(second)
            for _ in range(3):
                assert (await bench.ask())[1] == "local"
            await bench.settle()
            if second % 60 == 59:
                calls.append(len(bench.service.asked))
        return calls

    first, second, third = run(bench, use)
    assert first <= 5
    assert second - first <= 3
    assert third - second <= 3


def test_recovery_is_found_by_a_copy_and_no_user_waits_for_it() -> None:
    bench = Bench(Part(error=UpstreamError("500")))

    async def use() -> None:
        await bench.ask()
        await bench.ask()
        assert bench.breaker.state() == "open"
        bench.service.part = Part()
        assert (await bench.ask())[1:] == ("local", "open")
        assert len(bench.service.asked) == 2
        bench.now = 11.0
        assert (await bench.ask())[1:] == ("local", "open")
        await bench.settle()
        assert len(bench.service.asked) == 3
        assert bench.breaker.state() == "closed"
        assert (await bench.ask())[1:] == ("service", "")

    run(bench, use)


def test_one_copy_at_a_time_tries_and_a_hanging_one_ends() -> None:
    bench = Bench(Part(silence=5.0))

    async def use() -> None:
        await bench.ask()
        bench.now = 11.0
        await asyncio.gather(*(bench.ask() for _ in range(5)))
        await bench.settle()
        assert len(bench.service.asked) == 2
        assert bench.breaker.wait_seconds() == 20.0

    run(bench, use)


def test_retry_after_is_honoured() -> None:
    bench = Bench(Part(error=BUSY))

    async def use() -> None:
        await bench.ask()
        assert bench.breaker.wait_seconds() == 40.0

    run(bench, use)


@pytest.mark.parametrize(
    ("part", "reason"),
    [(Part(error=UpstreamError("hung up"), error_after=2), "cut"), (Part(stall_after=2), "stalled")],
)
def test_a_stream_that_breaks_off_is_continued_with_a_mark(part: Part, reason: str) -> None:
    bench = Bench(part)
    found = run(bench, lambda: bench.ask(streamed=True))
    assert found == ("Paris isthe local words", "service,local", reason)
    assert bench.marks == [Handover("local", reason, anew=False)]
    asked = bench.local.asked[0]
    assert asked.answer_start == "Paris is"
    assert asked.sampling.max_new_tokens == 18
    assert bench.last.usage.completion_tokens == 5
    assert ("handover", reason) in bench.counted


def test_an_answer_that_nobody_has_seen_begins_anew() -> None:
    bench = Bench(Part(error=UpstreamError("hung up"), error_after=2))
    assert run(bench, bench.ask) == ("the local words", "local", "cut")
    assert bench.marks == [Handover("local", "cut", anew=True)]
    assert bench.local.asked[0].answer_start == ""
    assert bench.last.usage.completion_tokens == 3


def test_a_service_does_not_continue_what_the_local_model_began() -> None:
    bench = Bench(swap=True)
    bench.local.part = Part(error=UpstreamError("the model failed"), error_after=1)
    with pytest.raises(UpstreamError, match="the model failed"):
        run(bench, lambda: bench.ask(streamed=True))
    bench = Bench(swap=True)
    bench.local.part = Part(error=UpstreamError("the model failed"), error_after=1)
    assert run(bench, bench.ask) == ("Paris is it", "service", "cut")


def test_a_full_local_queue_overflows_to_the_service() -> None:
    bench = Bench(swap=True)
    bench.local.refuses = TooManyRequests("full")
    assert run(bench, bench.ask) == ("Paris is it", "service", "full")
    assert bench.breaker.state() == "closed"


def test_the_stand_in_is_asked_in_its_own_words() -> None:
    bench = Bench(Part(error=NotReady("refused")))
    own = GenerationRequest((Message("user", "Context: x\nQuestion: Where?\nAnswer:"),))
    run(bench, lambda: bench.ask(stand_in=lambda: own))
    assert bench.local.asked[0].messages == own.messages


def test_what_the_stand_in_cannot_take_is_the_outage_and_no_mistake_of_the_caller() -> None:
    def refuse() -> GenerationRequest:
        raise InvalidInput("send the context")

    bench = Bench(Part(error=UpstreamError("500")))

    async def use() -> None:
        for _ in range(2):
            with pytest.raises(UpstreamError, match="500"):
                await bench.ask(stand_in=refuse)
        with pytest.raises(NotReady, match="away, and the one that stands in says: send the context"):
            await bench.ask(stand_in=refuse)

    run(bench, use)


def test_when_both_fail_the_primarys_failure_is_told() -> None:
    bench = Bench(Part(error=UpstreamError("the service failed")))
    bench.local.part = Part(error=UpstreamError("the local model failed"))
    with pytest.raises(UpstreamError, match="the service failed"):
        run(bench, bench.ask)


def test_a_service_that_is_away_at_the_start_comes_later() -> None:
    bench = Bench()
    bench.service.start_error = ModelError("cannot be reached")

    async def use() -> None:
        assert (await bench.ask())[1:] == ("local", "open")
        bench.service.start_error = None
        bench.now = 11.0
        await bench.ask()
        await bench.settle()
        assert (await bench.ask())[1] == "service"

    run(bench, use)


def test_a_local_model_that_cannot_be_loaded_ends_the_start() -> None:
    bench = Bench()
    bench.local.start_error = ModelError("no weights")
    with pytest.raises(ModelError, match="no weights"):
        run(bench, bench.ask)


def test_a_caller_who_leaves_stops_both() -> None:
    bench = Bench(Part(silence=5.0))
    bench.local.part = Part(silence=5.0)

    async def use() -> None:
        task = asyncio.create_task(bench.ask())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert [one.finish_reason for one in (*bench.service.given, *bench.local.given)] == ["cancelled"] * 2

    run(bench, use)


def test_a_cancelled_answer_says_nothing_about_the_service() -> None:
    bench = Bench(Part(stall_after=1), stall=5.0)

    async def use() -> list[Delta]:
        generation = bench.chain.submit(request())
        pieces = []
        async for delta in generation:
            pieces.append(delta)
            generation.cancel()
        assert generation.finish_reason == "cancelled"
        return pieces

    assert len(run(bench, use)) == 1
    assert bench.counted == []
    assert bench.breaker.state() == "closed"
