"""The commands of an endpoint of this machine, with our real server and the starter model behind the front."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from support.endpoint_server import ROOT, STARTER, free_port
from typer.testing import CliRunner

from components.core.deployment.endpoints.keys import shown_keys
from components.core.deployment.endpoints.processes import is_listening
from components.core.deployment.endpoints.record import EndpointFolder, endpoint_names

pytestmark = pytest.mark.e2e
COMMANDS = importlib.import_module("llm-pipelines.endpoint")
ASKED = {"question": "Who keeps the light?", "context": "Ada Morrow keeps the light.", "max_new_tokens": 4}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("ENDPOINT_KEY", raising=False)
    settings = {"ENGINE": "transformers", "THREADS": "1", "OMP_NUM_THREADS": "1", "WHETSTONE_HOME": str(tmp_path)}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    yield tmp_path
    for name in endpoint_names(tmp_path):
        run("delete", name)


def run(*words: object, code: int = 0) -> str:
    found = CliRunner().invoke(COMMANDS.app, [str(word) for word in words])
    assert found.exit_code == code, f"{words}: {found.output} {found.exception!r}"
    return found.output


def write_verdict(path: Path, status: str) -> None:
    verdict = {"status": status, "outcome": "better", "headline": f"{status.upper()}: why", "reasons": ["why"]}
    path.write_text(json.dumps({"verdict": verdict}))


def test_from_create_to_delete(home):
    words = run("create", "--port", free_port())
    name = re.search(r"^Endpoint +(ultrachat-completion-\d{14})$", words, re.M)[1]
    address = re.search(r"^Address +(http://\S+)$", words, re.M)[1]
    primary = re.search(r"^Primary key +(\S+)$", words, re.M)[1]

    words = run("deploy", name, "--name", "demo", "--model", STARTER)
    assert "demo is ready: 1 instance" in words
    assert "request timeout 90000 ms, liveness delay 600 s. It gets 0 % of the traffic." in words
    request = home / "request.json"
    messages = [
        {"role": "system", "content": ASKED["context"]},
        {"role": "user", "content": ASKED["question"]},
        {"role": "assistant", "content": "Ada Morrow"},
    ]
    scored = {"input_data": {"input_string": messages, "parameters": {"max_new_tokens": 4}}, "params": {}}
    request.write_text(json.dumps(scored))
    to_score = ("--request-file", request)
    assert "no deployment takes traffic yet" in run("invoke", name, *to_score, code=2)
    assert run("traffic", name, "demo=100") == f"Traffic of {name}: demo 100 %\n"

    deployment, response, truth = run("invoke", name, *to_score).splitlines()
    assert deployment.split() == ["Deployment", "demo"]
    assert isinstance(json.loads(response.removeprefix("Response").strip())["output"], str)
    assert truth == "Ground truth  Ada Morrow"
    assert run("invoke", name, *to_score, "--deployment", "demo").startswith("Deployment    demo\n")
    headers = {"Authorization": f"Bearer {primary}"}
    assert httpx.get(f"{address}/v1/models/{name}", headers=headers, timeout=30).json() == {"name": name, "ready": True}

    # nobody walks around the front: the server behind it asks for a key that no caller has
    record = EndpointFolder(home, name).read()
    port = record.deployments[0].server.port
    assert httpx.post(f"http://127.0.0.1:{port}/generate", json=ASKED, headers=headers).status_code == 401

    rotated = run("keys", "rotate", name, "primary").split()[2]
    assert httpx.post(f"{address}/generate", json=ASKED, headers=headers).status_code == 401
    assert rotated in run("keys", "show", name)
    assert shown_keys(EndpointFolder(home, name).path)["primary"] == rotated

    verdict = home / "evaluation.json"
    write_verdict(verdict, "refused")
    options = ("--max-latency-ms", 60000, "--evaluation", verdict)
    assert "demo has all of the traffic" in run("promote", name, "demo", *options, code=2)

    # the same from a shell, in a process of its own
    status = subprocess.run(
        [sys.executable, "-m", "llm-pipelines.endpoint", "status"], cwd=ROOT, capture_output=True, text=True
    )
    assert status.returncode == 0, status.stderr
    assert re.search(r"^demo +ready \(process \d+, port \d+\), 100 %, ", status.stdout, re.M)
    assert re.search(r"3 x 200.*p95 \d+ ms", status.stdout)

    words = run("delete", name).splitlines()
    assert words[0] == f"Deleting {name}"
    assert words[-1] == f"Deleted {name}: no process, port or key file of it is left."
    assert not is_listening(port)
    assert not (home / "serving" / "managed" / name).exists()
    run("delete", name, code=2)
    assert run("status") == "There is no endpoint on this machine.\n"


def test_a_cluster_is_meant_where_it_is_asked_for_or_named_and_this_machine_otherwise(home, monkeypatch):
    monkeypatch.setenv("HOME", str(home))  # no ~/.kube/config
    no_cluster = "error: no cluster is configured. Set KUBECONFIG to a valid file, then try again.\n"
    assert run("--cluster", "status", code=2) == no_cluster
    monkeypatch.setenv("KUBECONFIG", "/somewhere")
    assert run("status", code=2) == no_cluster
    assert run("--local", "status") == "There is no endpoint on this machine.\n"
    assert "--instances, --gpus and --gpu-product are for a cluster" in run(
        "--local", "deploy", "none", "--model", STARTER, "--gpus", 1, code=2
    )
    assert os.environ["WHETSTONE_HOME"] == str(home)
