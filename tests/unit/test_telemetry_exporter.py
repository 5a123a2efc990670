"""The queue and its thread, with a sink that does as it is told."""

import threading
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import uuid4

from llm_endpoint.breaker import Breaker
from llm_endpoint.telemetry.exporter import Exporter, Limits, SendError
from llm_endpoint.telemetry.records import FeedbackItem, Item, RunRecord, TraceItem, measure

QUICK = Limits(
    linger_seconds=0.0, backoff_seconds=0.001, longest_backoff_seconds=0.002, breaker_seconds=0.01, attempts=3
)


def trace(text: str = "text") -> TraceItem:
    trace_id = uuid4()
    now = datetime.now(UTC)
    item = TraceItem(trace_id, [RunRecord(trace_id, None, "chain", "chain", now, {"question": text}, now)], {})
    item.size = measure(item)
    return item


def feedback() -> FeedbackItem:
    return FeedbackItem(uuid4(), uuid4(), datetime.now(UTC), 1.0, size=100)


class Sink:
    name = "test"

    def __init__(self, *outcomes: SendError | Exception | None) -> None:
        self.outcomes = list(outcomes)
        self.batches: list[list[Item]] = []
        self.tries = 0

    def send(self, items: Sequence[Item]) -> None:
        self.tries += 1
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome is not None:
            raise outcome
        self.batches.append(list(items))


class HangingSink(Sink):
    def __init__(self) -> None:
        super().__init__()
        self.entered, self.let_go = threading.Event(), threading.Event()

    def send(self, items: Sequence[Item]) -> None:
        self.entered.set()
        self.let_go.wait(30)
        super().send(items)


class Counts:
    def __init__(self) -> None:
        self.n: Counter[str] = Counter()

    def __call__(self, event: str, reason: str, number: int) -> None:
        self.n[f"{event} {reason}".strip()] += number


def export(sink: Sink, items: Sequence[Item], limits: Limits = QUICK) -> Counter[str]:
    counts = Counts()
    exporter = Exporter(lambda: sink, lambda item: item, counts, limits)
    for item in items:
        exporter.put(item)
    assert exporter.flush(10)
    assert exporter.waiting() == (0, 0)
    return counts.n


def test_everything_is_delivered_once_and_in_order():
    sink = Sink()
    items = [trace(str(number)) for number in range(200)]
    assert export(sink, items) == {"sent": 200}
    assert [item for batch in sink.batches for item in batch] == items


def test_batches_hold_one_type_and_no_more_than_their_limits():
    sink = HangingSink()
    counts = Counts()
    limits = Limits(linger_seconds=0.0, batch_items=3, batch_bytes=20_000)
    exporter = Exporter(lambda: sink, lambda item: item, counts, limits)
    exporter.put(trace())
    sink.entered.wait(10)
    for item in (
        *(trace() for _ in range(4)),
        feedback(),
        trace("x" * 15_000),
        trace("x" * 15_000),
        trace("x" * 99_000),
    ):
        exporter.put(item)
    sink.let_go.set()
    assert exporter.flush(10)
    assert [len(batch) for batch in sink.batches] == [1, 3, 1, 1, 1, 1, 1]
    assert isinstance(sink.batches[3][0], FeedbackItem)


def test_a_failure_is_tried_again():
    sink = Sink(SendError("busy", retry=True, retry_after=0.01), SendError("busy", retry=True))
    assert export(sink, [trace()]) == {"retried": 2, "sent": 1}


def test_a_lasting_failure_loses_the_batch_and_not_the_next():
    sink = Sink(*(SendError("down", retry=True) for _ in range(3)))
    counts = Counts()
    exporter = Exporter(lambda: sink, lambda item: item, counts, QUICK)
    exporter.put(trace())
    assert exporter.flush(10)
    exporter.put(trace())
    assert exporter.flush(10)
    assert counts.n == {"retried": 2, "lost failed": 1, "sent": 1}


def test_a_refusal_is_not_tried_again():
    sink = Sink(SendError("no", retry=False))
    assert export(sink, [trace()]) == {"lost rejected": 1}
    assert sink.tries == 1


def test_an_unexpected_error_costs_its_batch_only(caplog):
    sink = Sink(ValueError("canary content"))
    counts = Counts()
    exporter = Exporter(lambda: sink, lambda item: item, counts, QUICK)
    exporter.put(trace())
    assert exporter.flush(10)
    exporter.put(trace())
    assert exporter.flush(10)
    assert counts.n == {"lost failed": 1, "sent": 1}
    assert "ValueError" in caplog.text
    assert "canary" not in caplog.text


def test_an_item_that_cannot_be_masked_is_never_sent():
    def mask(item: Item) -> Item:
        raise RuntimeError("canary")

    sink, counts = Sink(), Counts()
    exporter = Exporter(lambda: sink, mask, counts, QUICK)
    exporter.put(trace())
    assert exporter.flush(10)
    assert (counts.n, sink.tries) == ({"lost failed": 1}, 0)


def test_a_sink_that_cannot_be_opened_is_opened_later():
    sink, failures = Sink(), [SendError("down", retry=True), SendError("down", retry=True)]

    def open_sink() -> Sink:
        if failures:
            raise failures.pop()
        return sink

    counts = Counts()
    exporter = Exporter(open_sink, lambda item: item, counts, QUICK)
    exporter.put(trace())
    assert exporter.flush(10)
    assert counts.n["sent"] == 1


def test_the_queue_is_bounded_while_the_sink_hangs():
    sink, counts = HangingSink(), Counts()
    limits = Limits(items=5, bytes=200_000, linger_seconds=0.0)
    exporter = Exporter(lambda: sink, lambda item: item, counts, limits)
    exporter.put(trace())
    sink.entered.wait(10)
    assert [exporter.put(trace()) for _ in range(6)] == [True] * 4 + [False] * 2
    assert exporter.waiting()[0] == 5
    sink.let_go.set()
    assert exporter.flush(10)
    assert counts.n == {"sent": 5, "lost queue_full": 2}
    assert exporter.put(trace("x" * 300_000)) is False
    assert exporter.put(trace("x" * 100_000)) is True


def test_close_returns_at_its_deadline_and_counts_what_is_left():
    sink, counts = HangingSink(), Counts()
    exporter = Exporter(lambda: sink, lambda item: item, counts, QUICK)
    exporter.put(trace())
    sink.entered.wait(10)
    for _ in range(3):
        exporter.put(trace())
    exporter.close(0.05)
    assert exporter.waiting() == (0, 0)
    assert counts.n == {"lost shutdown": 4}
    assert exporter.put(trace()) is False
    sink.let_go.set()
    exporter.close(0.05)
    assert counts.n == {"lost shutdown": 5}


def test_close_sends_what_waits_without_lingering():
    sink, counts = Sink(SendError("busy", retry=True, retry_after=100.0)), Counts()
    exporter = Exporter(lambda: sink, lambda item: item, counts, Limits(linger_seconds=600.0))
    for _ in range(10):
        exporter.put(trace())
    exporter.close(30)
    assert counts.n["sent"] == 10


def test_the_breaker_opens_after_failures_in_a_row_and_lets_one_call_try():
    now = [0.0]
    breaker = Breaker(2, 30.0, lambda: now[0])
    assert [breaker.failed(), breaker.wait_seconds()] == [False, 0.0]
    assert [breaker.failed(), breaker.wait_seconds()] == [True, 30.0]
    now[0] = 31.0
    assert breaker.wait_seconds() == 0.0
    assert [breaker.failed(), breaker.wait_seconds()] == [True, 30.0]
    breaker.succeeded()
    assert [breaker.wait_seconds(), breaker.failed()] == [0.0, False]
