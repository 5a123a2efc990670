"""The launcher on tiny graphs: what a user sees when a step runs, fails or was done before."""

import importlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path

import pytest
from kfp import dsl

from components._step import step
from components.core.errors import PlatformError

launch = importlib.import_module("llm-pipelines.launch")


@step
def make_number(number: int, target: dsl.Output[dsl.Artifact]):
    """Write a number, or fail as a step does."""
    import sys
    from pathlib import Path

    print(f"working on {number:.0f}")
    if number < 0:
        print("error: numbers.jsonl:3: -1 is negative. Make it positive.\nSecond line.", file=sys.stderr)
        sys.exit(2)
    if number > 99:
        raise ValueError("a defect of ours")
    Path(target.path).write_text(str(number))


def graph(value):
    @dsl.pipeline(name="tiny")
    def tiny(number: int = value) -> dsl.Artifact:
        return make_number(number=number).outputs["target"]

    return tiny


def test_a_run_gives_its_outputs_and_prints_the_steps_words_without_the_runners(tmp_path, capfd):
    outputs = launch.run_here(graph(7), tmp_path, use_cache=True)
    assert Path(outputs["Output"].path).read_text() == "7"
    printed = capfd.readouterr().out
    assert "== make-number" in printed
    assert "working on 7" in printed
    assert "executor_input" not in printed
    assert "parameterValues" not in printed


def test_an_unchanged_step_is_not_run_again(tmp_path, capfd):
    first = launch.run_here(graph(7), tmp_path, use_cache=True)["Output"].path
    capfd.readouterr()
    assert launch.run_here(graph(7), tmp_path, use_cache=True)["Output"].path == first
    assert "working on" not in capfd.readouterr().out
    assert launch.run_here(graph(7), tmp_path, use_cache=False)["Output"].path != first


def test_a_failing_step_is_named_with_its_own_last_words(tmp_path):
    with pytest.raises(launch.StepFailed, match="step make-number failed: numbers.jsonl:3: -1 is negative") as caught:
        launch.run_here(graph(-1), tmp_path, use_cache=False)
    assert "Second line." in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_a_defect_shows_the_end_of_the_log(tmp_path):
    with pytest.raises(launch.StepFailed, match="a defect of ours"):
        launch.run_here(graph(100), tmp_path, use_cache=False)


class PipelinesServer(BaseHTTPRequestHandler):
    """Stands in for the Kubeflow Pipelines API server: experiments, pipeline upload-free runs, and refusals."""

    requests: list = []
    status = 200

    def _answer(self):
        length = int(self.headers.get("content-length") or 0)
        self.requests.append((self.command, self.path, self.rfile.read(length), dict(self.headers)))
        if self.status != 200:
            body = json.dumps({"error": "no"}).encode()
        elif "/experiments" in self.path:
            body = json.dumps({"experiment_id": "e1", "display_name": "fine-tune-pipeline"}).encode()
        else:
            body = json.dumps({"run_id": "r1", "display_name": "run", "experiment_id": "e1"}).encode()
        self.send_response(self.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer

    def log_message(self, *arguments):
        pass


@pytest.fixture
def pipelines_server():
    handler = type("Handler", (PipelinesServer,), {"requests": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()


def test_a_run_is_submitted_and_its_address_returned(pipelines_server):
    host, handler = pipelines_server
    address = launch.submit(graph(7), host, "team-a", token=None, use_cache=True)
    assert address == f"{host}/#/runs/details/r1"
    run = next(body for method, path, body, _ in handler.requests if method == "POST" and "/runs" in path)
    assert b"make-number" in run


def test_a_refusing_server_is_reported_with_a_remedy(pipelines_server):
    host, handler = pipelines_server
    handler.status = 401
    with pytest.raises(PlatformError, match=r"answered 401 .*Check KFP_TOKEN"):
        launch.submit(graph(7), host, "team-a", token="secret-token", use_cache=True)


def test_a_server_that_is_not_there_is_reported(unused_port):
    with pytest.raises(PlatformError, match="cannot reach Kubeflow Pipelines at http://127.0.0.1"):
        launch.submit(graph(7), f"http://127.0.0.1:{unused_port}", "team-a", token=None, use_cache=True)


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_error_of_an_earlier_step_is_forgotten():
    log = launch._StepLog(StringIO())
    log.write("    error: first\n05:13:16.403 - INFO - Executing task 'second-step'\n    all well\n")
    assert log.error == []
