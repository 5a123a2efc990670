"""`make create-secret` against a loopback server that stands in for the Kubernetes API: it stores secrets."""

import base64
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CANARY = "hf_CanaryTokenThatMustNeverShow"
NAMESPACE = "kubeflow-user-example-com"


class KubernetesApi(BaseHTTPRequestHandler):
    """POST stores a secret or answers 409, PUT replaces it; `refuse` answers every call with that status."""

    secrets: dict
    refuse: int

    def _answer(self, status, body):
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def _store(self, replace):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        key = (self.path.split("/")[4], body["metadata"]["name"])
        if self.refuse:
            return self._answer(self.refuse, {"kind": "Status", "code": self.refuse, "message": CANARY})
        if key in self.secrets and not replace:
            return self._answer(409, {"kind": "Status", "code": 409, "reason": "AlreadyExists"})
        self.secrets[key] = body
        return self._answer(201, body)

    def do_POST(self):
        self._store(replace=False)

    def do_PUT(self):
        self._store(replace=True)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def cluster(tmp_path):
    handler = type("Handler", (KubernetesApi,), {"secrets": {}, "refuse": 0})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    write_kubeconfig(tmp_path / "kubeconfig", server.server_port)
    yield handler, tmp_path / "kubeconfig"
    server.shutdown()


def write_kubeconfig(path, port):
    names = {"clusters": {"server": f"http://127.0.0.1:{port}"}, "users": {}, "contexts": {"cluster": "c", "user": "c"}}
    entries = {kind: [{"name": "c", kind[:-1]: value}] for kind, value in names.items()}
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": "c", **entries}))


def create_secret(kubeconfig, **variables):
    environment = {name: value for name, value in os.environ.items() if name not in ("HF_TOKEN", "HF_REPO")}
    return subprocess.run(
        [sys.executable, "-m", "llm-pipelines.create-secret"],
        cwd=ROOT,
        env={**environment, "KUBECONFIG": str(kubeconfig), **variables},
        capture_output=True,
        text=True,
    )


def test_the_secret_is_made_and_made_again_with_the_same_result(cluster):
    handler, kubeconfig = cluster
    first = create_secret(kubeconfig, HF_TOKEN=CANARY, HF_REPO="acme/tuned")
    stored = dict(handler.secrets)
    second = create_secret(kubeconfig, HF_TOKEN=CANARY, HF_REPO="acme/tuned")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert handler.secrets == stored
    assert stored[(NAMESPACE, "huggingface-secret")]["stringData"] == {"token": CANARY, "repo": "acme/tuned"}
    assert "created" in first.stdout
    assert "updated" in second.stdout
    assert CANARY not in first.stdout + first.stderr + second.stdout + second.stderr


@pytest.mark.parametrize("missing", ["HF_TOKEN", "HF_REPO"])
@pytest.mark.parametrize("folder", [".", "llm-pipelines"])
def test_make_stops_at_a_missing_variable_with_the_exact_message(missing, folder, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in ("HF_TOKEN", "HF_REPO")}
    given = {"HF_TOKEN": CANARY, "HF_REPO": "acme/tuned"}
    del given[missing]
    found = subprocess.run(
        ["make", "create-secret"], cwd=ROOT / folder, env={**environment, **given}, capture_output=True, text=True
    )
    assert found.returncode != 0
    assert f"Error: env var {missing} is not set. Please set it and try again." in found.stderr
    assert CANARY not in found.stdout + found.stderr


@pytest.mark.parametrize(("status", "message"), [(403, "right to create secrets"), (404, "does not exist. Create it")])
def test_a_refusal_is_explained_without_the_value(cluster, status, message):
    handler, kubeconfig = cluster
    handler.refuse = status
    found = create_secret(kubeconfig, HF_TOKEN=CANARY, HF_REPO="acme/tuned")
    assert found.returncode == 2
    assert message in found.stderr
    assert CANARY not in found.stdout + found.stderr


def test_no_cluster_is_one_line(tmp_path):
    found = create_secret(tmp_path / "none", HF_TOKEN=CANARY, HF_REPO="acme/tuned")
    assert found.returncode == 2
    assert found.stderr.startswith("error: no cluster is configured")


def test_an_unreachable_cluster_is_one_line(tmp_path):
    write_kubeconfig(tmp_path / "kubeconfig", 9)
    found = create_secret(tmp_path / "kubeconfig", HF_TOKEN=CANARY, HF_REPO="acme/tuned")
    assert found.returncode == 2
    assert "cannot reach the cluster at http://127.0.0.1:9" in found.stderr
    assert "Traceback" not in found.stderr
    assert base64.b64encode(CANARY.encode()).decode() not in found.stderr
