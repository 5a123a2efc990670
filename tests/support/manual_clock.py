"""A clock that only a test moves: sleeping moves it on at once, so a minute of calls takes milliseconds."""

import asyncio


class ManualClock:
    """`clock()` and `await clock.sleep(seconds)` for several tasks; time is what the sleepers wait for, no more."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has gone on so far; it does once nobody else has anything to do."""
        event = asyncio.Event()
        self._sleepers.append((self.now + seconds, event))
        await event.wait()

    async def run(self, work: "asyncio.Task[object]") -> None:
        """Move on from sleeper to sleeper until the work is done."""
        while not work.done():
            for _ in range(10):
                await asyncio.sleep(0)
            if self._sleepers and not work.done():
                self._sleepers.sort(key=lambda sleeper: sleeper[0])
                when, event = self._sleepers.pop(0)
                self.now = max(self.now, when)
                event.set()
        await work
