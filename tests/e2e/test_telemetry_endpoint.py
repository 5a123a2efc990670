"""Tracing of the real endpoint: its own process and model, with a stand-in for the LangSmith server."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.endpoint_server import EndpointServer, ask
from support.langsmith_server import LangSmithServer, langsmith_server

pytestmark = pytest.mark.e2e

KEY = "lsv2_pt_canary0123456789abcdef"
CANARIES = {
    "LANGCHAIN_PLANTED": "canary-of-langchain",
    "SOME_PASSWORD": "canary-of-the-environment",
    "HF_TOKEN": "hf_canaryOfTheHub1234567890",
}
PLANTED = "Write to canary@example.com. The password: canary-word. Card 4111 1111 1111 1111, hf_canary1234567890abcdef."


@pytest.fixture(scope="module")
def langsmith() -> Iterator[LangSmithServer]:
    with langsmith_server() as server:
        yield server


@pytest.fixture(scope="module")
def home(endpoint: EndpointServer) -> Path:
    """Where the model is converted already."""
    return endpoint.log_file.parent


@pytest.fixture(scope="module")
def feedback_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("feedback") / "rows.jsonl"


@pytest.fixture(scope="module")
def traced(langsmith: LangSmithServer, home: Path, feedback_file: Path) -> Iterator[EndpointServer]:
    environment = {
        "LANGCHAIN_TRACING_V2": "true",
        "LANGCHAIN_ENDPOINT": langsmith.address,
        "LANGCHAIN_API_KEY": KEY,
        "LANGCHAIN_PROJECT": "qa",
        "FEEDBACK_FILE": str(feedback_file),
        "FLUSH_SECONDS": "2",
    }
    with EndpointServer(home, **environment, **CANARIES) as server:
        yield server


def received(langsmith: LangSmithServer, server: EndpointServer, trace_id: str) -> list[dict[str, Any]]:
    """The runs of a trace, once they have come in."""
    ended = time.monotonic() + 30
    while not (runs := langsmith.trace(trace_id)):
        assert time.monotonic() < ended, server.log
        time.sleep(0.05)
    return list(runs.values())


def test_one_request_is_one_run_tree(traced: EndpointServer, langsmith: LangSmithServer):
    answer = ask(traced).json()
    runs = received(langsmith, traced, answer["trace_id"])
    assert [run["run_type"] for run in runs] == ["chain", "prompt", "llm", "parser"]
    root, _, model, _ = runs
    assert root["id"] == answer["trace_id"]
    assert root["inputs"] == {"context": "Ada kept the light.", "question": "Who?"}
    assert root["outputs"]["output"].strip() == answer["response"]
    assert root["extra"]["metadata"]["revision"] == answer["revision"]
    usage = model["extra"]["metadata"]["usage_metadata"]
    assert usage["input_tokens"] == answer["usage"]["prompt_tokens"]
    assert usage["output_tokens"] == answer["usage"]["completion_tokens"]
    assert [event["name"] for event in model["events"]] == ["new_token"]
    assert not any(run.get("error") for run in runs)


def test_feedback_reaches_the_trace_and_the_file(
    traced: EndpointServer, langsmith: LangSmithServer, feedback_file: Path
):
    answer = ask(traced).json()
    body = {"trace_id": answer["trace_id"], "score": 0, "correction": "Ada", "comment": "wrong", "consent": True}
    assert httpx.post(f"{traced.url}/feedback", json=body).json()["stored"] is True
    ended = time.monotonic() + 30
    while not langsmith.feedback:
        assert time.monotonic() < ended, traced.log
        time.sleep(0.05)
    (feedback,) = langsmith.feedback.values()
    assert (feedback["trace_id"], feedback["correction"]) == (answer["trace_id"], {"answer": "Ada"})
    row = json.loads(feedback_file.read_text())
    assert row["answers"] == {"text": ["Ada"], "answer_start": [0]}


def test_secrets_reach_neither_traces_nor_log(traced: EndpointServer, langsmith: LangSmithServer):
    headers = {"Authorization": "Bearer canary-of-a-header", "X-Anything": "canary-of-a-header", "Cookie": "a=canary"}
    body = {"question": f"Who? {CANARIES['HF_TOKEN']}", "context": PLANTED}
    response = httpx.post(f"{traced.url}/generate", json=body, headers=headers, timeout=60)
    assert response.status_code == 200
    httpx.post(f"{traced.url}/generate", json={"context": PLANTED}, headers=headers)
    assert len(received(langsmith, traced, response.json()["trace_id"])) == 4
    arrived = b"\n".join(langsmith.raw).replace(f"x-api-key: {KEY}".encode(), b"").decode().lower()
    for text in (arrived, traced.log.lower()):
        assert "canary" not in text
        assert "4111" not in text


@pytest.mark.parametrize("mode", ["hang", "500"])
def test_a_failing_service_changes_no_answer_and_no_shutdown(mode: Any, home: Path, endpoint: EndpointServer):
    expected = ask(endpoint).json()["response"]
    with langsmith_server() as failing:
        failing.mode = mode
        environment = {"LANGSMITH_TRACING": "true", "LANGSMITH_ENDPOINT": failing.address, "LANGSMITH_API_KEY": KEY}
        with EndpointServer(home, FLUSH_SECONDS="0.5", TRACE_QUEUE="3", **environment) as server:
            assert [ask(server).json()["response"] for _ in range(5)] == [expected] * 5
            while not failing.requests:
                time.sleep(0.01)
            assert server.metric("llm_telemetry_items_total", event="lost", reason="queue_full") > 0
            assert server.stop() == 0
            assert KEY not in server.log
            assert "traces or feedbacks were lost" in server.log
