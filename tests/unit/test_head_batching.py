"""Dynamic batching of inputs, with a scripted runtime."""

import asyncio
import threading
from types import SimpleNamespace

import pytest
from llm_endpoint.engines.seam import EngineInfo
from llm_endpoint.errors import GenerationError, NotReady, RequestTimeout, TooManyRequests
from llm_endpoint.heads.batching import HeadEngine
from llm_endpoint.heads.encoding import Encoded, Piece
from llm_endpoint.heads.predicting import Predicting
from llm_endpoint.metrics import Metrics
from prometheus_client import CollectorRegistry

BAD = 666
"""A token that the scripted runtime fails on."""


class Scripted:
    """Answers with the first token of each input; waits while `gate` is closed."""

    name, precision = "scripted", "fp32"

    def __init__(self, lanes=1):
        self.lanes = lanes
        self.batches = []
        self.gate, self.entered = threading.Event(), threading.Event()
        self.gate.set()

    def run(self, batch):
        ids = batch["input_ids"]
        self.batches.append(ids[:, 0].tolist())
        self.entered.set()
        assert self.gate.wait(10)
        if (ids == BAD).any():
            raise RuntimeError("scripted")
        return ids[:, :1].astype(float)


def engine_of(runtime, tokens=1000, requests=100):
    info = EngineInfo("scripted", "", "", None, "")
    return HeadEngine(lambda: runtime, lambda _: info, 0, tokens, requests, lambda _: None)


def pieces(*firsts, length=3):
    return [Piece(place, [first] * length, [0] * length) for place, first in enumerate(firsts)]


def play(script, lanes=1, **options):
    """Run a script on a started engine."""
    runtime = Scripted(lanes)
    engine = engine_of(runtime, **options)

    async def main():
        await engine.start()
        try:
            return await script(engine, runtime)
        finally:
            runtime.gate.set()
            await engine.stop()

    return asyncio.run(asyncio.wait_for(main(), 20))


async def hold(engine, runtime):
    """A request that occupies the runtime until the gate opens."""
    runtime.gate.clear()
    runtime.entered.clear()
    held = asyncio.create_task(engine.run(pieces(1)))
    await asyncio.to_thread(runtime.entered.wait, 5)
    return held


async def turns(count=3):
    for _ in range(count):
        await asyncio.sleep(0)


def values(outputs):
    return [int(each[0]) for each in outputs]


def test_order_is_kept_over_batches_and_lengths():
    async def script(engine, runtime):
        rows = [Piece(n, [n + 1] * (1 + n * 7 % 5), [0]) for n in range(40)]
        return values(await engine.run(rows)), len(runtime.batches)

    found, batches = play(script, tokens=20)
    assert found == list(range(1, 41))
    assert batches > 1


def test_what_arrives_while_a_batch_runs_shares_the_next():
    async def script(engine, runtime):
        held = await hold(engine, runtime)
        others = [asyncio.create_task(engine.run(pieces(10 + n, 20 + n))) for n in range(5)]
        await turns()
        runtime.gate.set()
        assert values(await held) == [1]
        assert [values(await each) for each in others] == [[10 + n, 20 + n] for n in range(5)]
        return runtime.batches

    first, second = play(script)
    assert first == [1]
    assert sorted(second) == [10, 11, 12, 13, 14, 20, 21, 22, 23, 24]


def test_two_lanes_run_two_batches_at_once_and_share_a_request():
    async def script(engine, runtime):
        held = await hold(engine, runtime)
        runtime.entered.clear()
        second = asyncio.create_task(engine.run(pieces(2)))
        assert await asyncio.to_thread(runtime.entered.wait, 5), "the second lane is idle while the first is busy"
        third = asyncio.create_task(engine.run(pieces(3)))
        await turns()
        assert sorted(runtime.batches) == [[1], [2]]
        runtime.gate.set()
        assert [values(await each) for each in (held, second, third)] == [[1], [2], [3]]
        many = [Piece(n, [n + 1] * 5, [0] * 5) for n in range(60)]
        return values(await engine.run(many))

    assert play(script, lanes=2, tokens=10) == list(range(1, 61))


def test_a_failure_reaches_only_the_requests_of_its_batch():
    async def script(engine, runtime):
        with pytest.raises(GenerationError):
            await engine.run(pieces(BAD))
        assert engine.healthy()
        return values(await engine.run(pieces(7)))

    assert play(script) == [7]


@pytest.mark.parametrize("lanes", [1, 3])
def test_an_engine_that_fails_on_and_on_takes_no_more(lanes):
    async def script(engine, runtime):
        for _ in range(3):
            with pytest.raises(GenerationError):
                await engine.run(pieces(BAD))
        for _ in range(200):
            if not engine.healthy():
                break
            await asyncio.sleep(0.01)
        with pytest.raises(GenerationError), engine.place():
            pass
        return engine.healthy()

    assert play(script, lanes) is False


def test_who_leaves_takes_the_inputs_back():
    async def script(engine, runtime):
        held = await hold(engine, runtime)
        leaving, staying = (asyncio.create_task(engine.run(pieces(first))) for first in (5, 6))
        await turns()
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        runtime.gate.set()
        await held
        assert values(await staying) == [6]
        return runtime.batches

    assert play(script) == [[1], [6]]


def test_what_waits_at_the_end_is_refused():
    async def script(engine, runtime):
        held = await hold(engine, runtime)
        waiting = asyncio.create_task(engine.run(pieces(5)))
        await turns()
        stopping = asyncio.create_task(engine.stop())
        await turns()
        runtime.gate.set()
        await stopping
        assert values(await held) == [1]
        with pytest.raises(NotReady):
            await waiting

    play(script)


class NoTelemetry:
    """Hears of no request."""

    def start(self, *_):
        return SimpleNamespace(callbacks=[], trace_id="t", finish=lambda *_: None)


def predicting_of(engine, seconds):
    encoder = SimpleNamespace(encode=lambda rows: Encoded(pieces(*(row.first for row in rows)), [False] * len(rows)))
    head = SimpleNamespace(task="regression")
    return Predicting(engine, encoder, head, seconds, NoTelemetry(), Metrics(CollectorRegistry()))


def row(first):
    return SimpleNamespace(text="x", first=first)


def test_full_late_and_left_requests_free_their_places():
    async def script(engine, runtime):
        held = await hold(engine, runtime)
        predicting = predicting_of(engine, 0.3)
        left, late = (asyncio.create_task(predicting.predict([row(first)], "test")) for first in (2, 3))
        await turns()
        with pytest.raises(TooManyRequests) as refused:
            await predicting.predict([row(4)], "test")
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        with engine.place():  # the one who left made room
            pass
        with pytest.raises(RequestTimeout) as timed_out:
            await late
        assert engine.load()[1] == 0
        runtime.gate.set()
        await held
        assert runtime.batches == [[1]]  # neither was run
        return refused.value.status, timed_out.value.status

    assert play(script, requests=2) == (429, 504)
