"""The commands of doctor and preflight over real HTTP: a stand-in API server and a stand-in Hub."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.hub_server import HubServer
from support.kube_server import kube_server, write_kubeconfig
from support.recorded_clusters import A10G, PLANTED, fill, gpu_node, healthy, replaced, secret, without
from support.tiny_training import write_base_model

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).resolve().parents[2]
BASE = "acme/base"


@pytest.fixture
def cluster():
    with kube_server() as found:
        yield found


@pytest.fixture
def hub(tmp_path):
    with HubServer() as server:
        server.add_folder("model", BASE, write_base_model(tmp_path / "base", dtype="bfloat16"))
        yield server


@pytest.fixture
def run(cluster, hub, tmp_path):
    """Run a command against the stand-ins, with a token in the environment if one is given."""

    def start(command, *arguments, token=None, address=None):
        kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", address or cluster[1])
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "KFP_", "NAMESPACE"))}
        own = {"KUBECONFIG": str(kubeconfig), "HF_HOME": str(tmp_path / "hf")}
        return subprocess.run(
            [sys.executable, "-m", f"llm-pipelines.{command}", f"model.model_id={BASE}", *arguments],
            cwd=ROOT, env=kept | hub.env(token) | own, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    return start


def with_token(token):
    """A healthy cluster whose secret holds a token that the Hub knows."""
    hub_secret = secret("huggingface-secret", "token", "repo", value=token)
    hub_secret["data"]["repo"] = base64.b64encode(b"acme/tuned").decode()
    return replaced(healthy(), hub_secret)


def test_a_healthy_cluster_is_all_ok_and_nothing_is_changed(cluster, run):
    state, _ = cluster
    fill(state, with_token("hf_write"))
    done = run("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 warnings, 0 errors" in done.stdout
    assert "the token of huggingface-secret may write to acme/tuned" in done.stdout
    assert "\033" not in done.stdout
    assert state.writes() == []


def test_an_ill_cluster_ends_with_2_and_one_json_document(cluster, run):
    state, _ = cluster
    fill(state, without(with_token("hf_read"), "gpu-1", "gpu-2", "llm-api-keys"))
    state.not_installed.add("inferenceservices.serving.kserve.io")
    state.denied |= {("patch", "secrets"), ("list", "resourcequotas")}
    done = run("doctor", "--json")
    assert done.returncode == 2
    document = json.loads(done.stdout)
    told = {finding["title"]: finding for finding in document["findings"] if finding["status"] != "ok"}
    assert document["healthy"] is False
    assert told["Rights: create-secret"]["detail"] == "you may not: patch secrets"
    assert told["GPUs"]["status"] == "error"
    assert "403" in told["Quota"]["detail"]
    assert told["Hub repository"]["detail"] == "HF_TOKEN can read but not write acme/tuned"
    assert told["Hub repository"]["remedy"].startswith("Create a token with write permission")
    assert "hf_read" not in done.stdout + done.stderr


def test_a_planted_token_appears_nowhere(cluster, run):
    state, _ = cluster
    state.token = PLANTED
    fill(state, healthy())
    refused = run("doctor", "--json")
    assert refused.returncode == 2
    assert "does not accept your credentials (401)" in refused.stderr
    state.token = None
    for done in (run("doctor"), run("doctor", "--json", token=PLANTED), run("preflight", token=PLANTED)):
        for text in (PLANTED, base64.b64encode(PLANTED.encode()).decode()):
            assert text not in done.stdout + done.stderr


def test_an_api_server_that_is_down_is_one_line(run):
    done = run("doctor", address="http://127.0.0.1:9")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [done.stderr.strip()]
    assert done.stderr.startswith("error: cannot reach the cluster at http://127.0.0.1:9")


def test_the_preflight_reads_headers_of_the_hub_only_and_names_the_gpu(cluster, hub, run):
    state, _ = cluster
    fill(state, healthy())
    done = run("preflight", "data.dataset_id=acme/rows")
    assert done.returncode == 0, done.stderr
    assert "fits, 13 of 16 free" in done.stdout
    assert "for each million tokens" in done.stdout
    read = [request.path for request in hub.requests if request.method == "GET" and "/resolve/" in request.path]
    assert {path.rsplit("/", 1)[1] for path in read} <= {"config.json", "generation_config.json", "model.safetensors"}
    assert state.writes() == []


def test_the_preflight_refuses_what_cannot_fit(cluster, run):
    state, _ = cluster
    fill(state, replaced(without(healthy(), "gpu-2"), gpu_node("gpu-1", A10G)))
    done = run("preflight", "resources.memory=1Gi", "gpu.count=9")
    assert done.returncode == 2
    assert "error: 1 x 9 GPUs are asked for; there are 8, at most 8 on one node. Lower gpu.count to 8" in done.stderr
    assert "resources.memory=1Gi would have it killed: set resources.memory=" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_preflight_says_that_taken_gpus_count_as_free_where_pods_cannot_be_listed(cluster, run):
    state, _ = cluster
    fill(state, healthy())
    state.denied.add(("list", "pods"))
    found = run("preflight", f"model.model_id={BASE}")
    assert found.returncode == 0, found.stderr
    assert "Warning you have no right to list pods of all namespaces" in found.stdout
    assert "16 of 16 free" in found.stdout
