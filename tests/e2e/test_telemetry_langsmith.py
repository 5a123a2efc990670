"""Tracing through the real LangSmith client to a stand-in server on loopback."""

import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from llm_endpoint.errors import SettingsError
from llm_endpoint.settings import load_settings
from llm_endpoint.telemetry.ambient import disable_ambient_tracing
from support.langsmith_server import PROJECT_ID, LangSmithServer, langsmith_server
from support.traced_chain import KEY, Traced

pytestmark = pytest.mark.e2e

ENDPOINT = Path(__file__).resolve().parents[2] / "llm-endpoint"


@pytest.fixture
def server() -> Iterator[LangSmithServer]:
    with langsmith_server() as running:
        yield running


def test_the_server_gets_the_whole_run_tree(server: LangSmithServer):
    traced = Traced(server.address)
    trace_id = traced.ask()
    assert traced.telemetry.flush(20)
    runs = server.trace(trace_id)
    assert list(runs) == ["RunnableSequence", "ChatPromptTemplate", "GenericFakeChatModel", "StrOutputParser"]
    root, model = runs["RunnableSequence"], runs["GenericFakeChatModel"]
    assert [run["run_type"] for run in runs.values()] == ["chain", "prompt", "llm", "parser"]
    assert root["id"] == str(trace_id)
    for run in runs.values():
        assert run["session_name"] == "qa"
        assert run["extra"]["metadata"]["session_id"] == "talk-1"
        assert run["extra"]["metadata"]["revision"] == "0123abc"
        assert datetime.fromisoformat(run["start_time"]) <= datetime.fromisoformat(run["end_time"])
        assert run["parent_run_id"] == (None if run is root else root["id"])
        assert run["dotted_order"].startswith(root["dotted_order"])
    assert model["extra"]["metadata"]["usage_metadata"]["total_tokens"] == 10
    assert model["outputs"]["messages"][0]["content"] == root["outputs"]["output"] == "It is blue."
    assert [event["name"] for event in model["events"]] == ["new_token"]
    assert server.keys == {KEY}
    assert traced.counts == {"sent": 1}
    assert {path for _, path in server.requests} == {"/runs/multipart"}


def test_an_error_is_part_of_the_tree(server: LangSmithServer):
    traced = Traced(server.address)
    trace_id = traced.ask(error="RequestTimeout: too long")
    assert traced.telemetry.flush(20)
    assert server.trace(trace_id)["RunnableSequence"]["error"] == "RequestTimeout: too long"


def test_feedback_names_trace_and_project(server: LangSmithServer):
    traced = Traced(server.address)
    trace_id = traced.ask()
    assert traced.telemetry.feedback(trace_id, 0.0, "wrong, says a@b.cc", "green")
    assert traced.telemetry.feedback(trace_id, 1.0)
    assert traced.telemetry.flush(20)
    first, second = server.feedback.values()
    assert first["trace_id"] == first["run_id"] == str(trace_id)
    assert first["session_id"] == PROJECT_ID
    assert (first["score"], first["comment"], first["correction"]) == (0.0, "wrong, says [EMAIL]", {"answer": "green"})
    assert second["score"] == 1.0
    assert [path for _, path in server.requests].count("/sessions") == 1
    assert traced.counts == {"sent": 3}


def test_an_older_server_gets_the_runs_in_one_batch(server: LangSmithServer):
    server.multipart = False
    traced = Traced(server.address)
    trace_id = traced.ask()
    assert traced.telemetry.flush(20)
    assert len(server.trace(trace_id)) == 4
    assert traced.counts == {"sent": 1}


def test_secrets_appear_nowhere(server: LangSmithServer, monkeypatch: pytest.MonkeyPatch):
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    monkeypatch.setattr(logging.getLogger(), "level", logging.DEBUG)
    logging.getLogger().addHandler(handler)
    canaries = {
        "LANGCHAIN_PLANTED": "canary-of-the-environment",
        "HF_TOKEN": "hf_canaryOfTheEnvironment",
        "LANGSMITH_API_KEY": KEY,
        "OPENAI_API_KEY": "sk-canary-of-the-upstream",
    }
    for name, value in canaries.items():
        monkeypatch.setenv(name, value)
    try:
        traced = Traced(server.address, openai_api_key=canaries["OPENAI_API_KEY"], hf_token=canaries["HF_TOKEN"])
        planted = (
            "mail canary@example.com, hf_" + "canary1" * 5 + ", card 4111 1111 1111 1111, password: canary-password"
        )
        context = f"{planted} and {KEY}, {canaries['HF_TOKEN']}, {canaries['OPENAI_API_KEY']}"
        for mode in ("ok", "500", "401", "drop", "redirect"):
            server.mode = mode  # type: ignore[assignment]
            traced.ask(context, "canary-password hf_canaryOfTheEnvironment", error=f"APIError: {context}")
            assert traced.telemetry.flush(20)
        server.stop()
        traced.ask(context)
        assert traced.telemetry.flush(20)
    finally:
        logging.getLogger().removeHandler(handler)
    assert traced.counts["sent"] == 1
    # the key itself is how the server knows us: it stands in its header and nowhere else
    received = b"\n".join(server.raw).replace(f"x-api-key: {KEY}".encode(), b"").decode()
    for text in (received, log.getvalue()):
        assert "canary" not in text.lower()
        assert "4111" not in text
        assert "lsv2" not in text


def test_off_calls_nobody_and_loads_no_client(server: LangSmithServer):
    code = (
        "import sys\n"
        "from llm_endpoint.settings import load_settings\n"
        "from llm_endpoint.telemetry.telemetry import open_telemetry\n"
        "telemetry = open_telemetry(load_settings(), print)\n"
        "telemetry.start('s', {}).finish()\n"
        "telemetry.close(1.0)\n"
        "print('langsmith' in sys.modules, 'mlflow' in sys.modules, 'langchain_core' in sys.modules)"
    )
    env = os.environ | {"LANGCHAIN_ENDPOINT": server.address, "LANGCHAIN_API_KEY": KEY}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ENDPOINT, env=env, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "False False False\n", done.stderr
    assert server.requests == []


def test_langchains_own_tracer_stays_off(server: LangSmithServer, monkeypatch: pytest.MonkeyPatch):
    for name, value in {
        "LANGCHAIN_TRACING_V2": "true",
        "LANGSMITH_TRACING": "true",
        "LANGCHAIN_TRACING": "true",
        "LANGSMITH_RUNS_ENDPOINTS": "{}",
        "LANGCHAIN_ENDPOINT": server.address,
        "LANGCHAIN_API_KEY": KEY,
    }.items():
        monkeypatch.setenv(name, value)
    read = load_settings()
    disable_ambient_tracing()
    assert read.tracing
    traced = Traced(server.address)
    trace_id = traced.ask()
    GenericFakeChatModel(messages=iter(["untraced"])).invoke("hello")
    assert traced.telemetry.flush(20)
    assert {run["trace_id"] for run in server.runs.values()} == {str(trace_id)}
    assert len(server.requests) == 1


def test_an_impossible_address_is_refused_at_the_start():
    with pytest.raises(SettingsError, match="LANGSMITH_ENDPOINT"):
        Traced("smith.example.com")
