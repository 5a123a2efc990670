"""The rate of calls to a service LLM: reached, never exceeded; by a clock that the test moves."""

import asyncio
import random
from bisect import bisect_left

import pytest
from support.manual_clock import ManualClock

from components.core.service_llm import RateLimiter


def starts(per_minute: int, minutes: float, seconds_per_call: float, workers: int, pause_at: float | None = None):
    """When calls started, with workers that each ask again as soon as they have their answer."""
    clock, dice = ManualClock(), random.Random(7)
    limiter = RateLimiter(per_minute, clock=clock, sleep=clock.sleep)
    found: list[float] = []

    async def worker() -> None:
        while clock() < 60 * minutes:
            await limiter.wait()
            found.append(clock())
            if pause_at is not None and len(found) == 20:
                limiter.pause(pause_at)
            await clock.sleep(seconds_per_call * dice.uniform(0.2, 1.8))

    async def main() -> None:
        await clock.run(asyncio.ensure_future(asyncio.gather(*(worker() for _ in range(workers)))))

    asyncio.run(main())
    return [start for start in found if start < 60 * minutes]


def most_in_a_minute(times: list[float]) -> int:
    return max(bisect_left(times, time + 60) - place for place, time in enumerate(times))


@pytest.mark.parametrize("per_minute", [7, 60, 300])
@pytest.mark.parametrize("workers", [4, 16])
def test_the_rate_is_reached_within_five_percent_and_never_exceeded(per_minute, workers):
    times = starts(per_minute, 2, seconds_per_call=min(3.0, 60 * workers / per_minute / 2), workers=workers)
    assert most_in_a_minute(times) <= per_minute
    assert len(times) / 2 >= 0.95 * per_minute


def test_calls_that_come_late_are_made_up_for_without_a_burst_above_the_rate():
    # four workers whose calls now and then take longer than all slots together: the rate still holds on average
    times = starts(60, 5, seconds_per_call=3.6, workers=4)
    assert most_in_a_minute(times) <= 60
    assert len(times) / 5 >= 0.95 * 60


def test_no_more_than_the_catch_up_starts_at_once_after_a_break():
    clock = ManualClock()
    limiter = RateLimiter(60, clock=clock, sleep=clock.sleep)

    async def main() -> list[float]:
        await limiter.wait()
        clock.now = 1000.0
        found = []
        for _ in range(10):
            task = asyncio.ensure_future(limiter.wait())
            await clock.run(task)
            found.append(clock())
        return found

    found = asyncio.run(main())
    assert found.count(1000.0) <= 5
    assert found[-1] > 1004


def test_a_pause_holds_every_caller():
    times = starts(60, 2, seconds_per_call=1.0, workers=4, pause_at=30.0)
    assert max(after - before for before, after in zip(times, times[1:], strict=False)) >= 30
    assert most_in_a_minute(times) <= 60


def test_callers_are_served_in_the_order_in_which_they_came():
    clock, served = ManualClock(), []
    limiter = RateLimiter(60, clock=clock, sleep=clock.sleep)

    async def caller(name: int) -> None:
        for _ in range(10):
            await limiter.wait()
            served.append(name)

    async def main() -> None:
        await clock.run(asyncio.ensure_future(asyncio.gather(*(caller(name) for name in range(4)))))

    asyncio.run(main())
    # the first may have the slots that are free at the start; then all take turns
    assert all(set(served[place : place + 4]) == {0, 1, 2, 3} for place in range(6, 18))
