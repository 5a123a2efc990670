"""A LangSmith that fails: no request is hurt, memory is bounded, and what is lost is counted."""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llm_endpoint.telemetry.exporter import Limits
from support.langsmith_server import LangSmithServer, langsmith_server
from support.traced_chain import KEY, Traced

pytestmark = pytest.mark.e2e

ENDPOINT = Path(__file__).resolve().parents[2] / "llm-endpoint"


@pytest.fixture
def server() -> Iterator[LangSmithServer]:
    with langsmith_server() as running:
        yield running


@pytest.mark.parametrize("mode", ["429", "500", "503", "drop", "slow"])
def test_a_server_that_recovers_loses_nothing(server: LangSmithServer, mode: Any):
    server.mode = mode
    traced = Traced(
        server.address, Limits(linger_seconds=0.01, backoff_seconds=0.05, attempts=1000, breaker_failures=9999)
    )
    trace_id = traced.ask()
    while not server.requests:
        time.sleep(0.01)
    server.mode = "ok"
    assert traced.telemetry.flush(20)
    assert len(server.trace(trace_id)) == 4
    assert (traced.counts["sent"], traced.counts["retried"] > 0) == (1, mode != "slow")


@pytest.mark.parametrize(
    ("mode", "loss", "calls"), [("500", "failed", 3), ("401", "rejected", 1), ("redirect", "rejected", 1)]
)
def test_lasting_failures_are_counted_after_so_many_calls(server: LangSmithServer, mode: Any, loss: str, calls: int):
    server.mode = mode
    traced = Traced(server.address)
    traced.ask()
    assert traced.telemetry.flush(20)
    assert traced.counts[f"lost {loss}"] == 1
    assert len(server.requests) == calls, "the client's own retries are off, and a redirect is not followed"


def test_a_busy_server_says_when_to_come_back(server: LangSmithServer):
    server.mode, server.retry_after = "429", "30"
    traced = Traced(server.address)
    traced.ask()
    while not server.requests:
        time.sleep(0.01)
    assert traced.telemetry.flush(0.5) is False
    assert len(server.requests) == 1
    server.mode = "ok"
    traced.telemetry.close(20)
    assert traced.counts == {"retried": 1, "sent": 1}


def test_refused_connections_hurt_no_request_and_are_counted():
    with langsmith_server() as gone:
        address = gone.address
    traced = Traced(address)
    for _ in range(3):
        traced.ask()
    assert traced.telemetry.flush(20)
    assert traced.counts["lost failed"] == 3


def test_a_hanging_server_holds_one_batch_and_close_returns_in_time(server: LangSmithServer):
    server.mode = "hang"
    traced = Traced(server.address, Limits(items=4, linger_seconds=0.0))
    traced.ask()
    while not server.requests:
        time.sleep(0.01)
    for _ in range(9):
        traced.ask()
    assert traced.telemetry.waiting()[0] == 4
    assert len(server.requests) == 1
    closer = threading.Thread(target=traced.telemetry.close, args=(0.3,))
    closer.start()
    closer.join(20)
    assert not closer.is_alive()
    assert traced.counts == {"lost queue_full": 6, "lost shutdown": 4}


def test_a_process_ends_although_the_server_hangs(server: LangSmithServer):
    server.mode = "hang"
    code = (
        "from llm_endpoint.settings import load_settings\n"
        "from llm_endpoint.telemetry.telemetry import open_telemetry\n"
        "telemetry = open_telemetry(load_settings(), lambda *count: print(*count))\n"
        "telemetry.start().finish()\n"
        "telemetry.close(1.0)"
    )
    env = os.environ | {"LANGCHAIN_TRACING_V2": "true", "LANGCHAIN_ENDPOINT": server.address, "LANGCHAIN_API_KEY": KEY}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ENDPOINT, env=env, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "lost shutdown 1\n")
    assert KEY not in done.stderr


def test_a_wrong_key_is_told_once_and_by_its_remedy(server: LangSmithServer, caplog: pytest.LogCaptureFixture):
    server.mode = "401"
    traced = Traced(server.address)
    for _ in range(3):
        traced.ask()
        assert traced.telemetry.flush(20)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        "Traces are not taken: LangSmith answered 401. Check LANGSMITH_API_KEY. "
        "Answers are not affected; what is lost is counted in /metrics"
    ]


def test_memory_stays_within_the_queue_under_load(server: LangSmithServer):
    server.mode = "hang"
    traced = Traced(server.address, Limits(items=2000, bytes=2**20))
    for number in range(60):
        trace = traced.telemetry.start()
        text = f"{number} " + "x" * 50_000
        trace.finish(None, {"answer": text})
        assert traced.telemetry.waiting()[1] <= 2**20
    assert traced.counts["lost queue_full"] >= 30
