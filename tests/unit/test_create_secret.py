"""`make create-secret` against the stand-in API server of support.kube_server."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.kube_server import kube_server, write_kubeconfig

ROOT = Path(__file__).resolve().parents[2]
CANARY = "hf_CanaryTokenThatMustNeverShow"
NAMESPACE = "kubeflow-user-example-com"


@pytest.fixture
def cluster(tmp_path):
    with kube_server() as (state, address):
        yield state, write_kubeconfig(tmp_path / "kubeconfig", address)


def create_secret(kubeconfig, *options, **variables):
    environment = {name: value for name, value in os.environ.items() if name not in ("HF_TOKEN", "HF_REPO")}
    return subprocess.run(
        [sys.executable, "-m", "llm-pipelines.create-secret", *options],
        cwd=ROOT,
        env={**environment, "KUBECONFIG": str(kubeconfig), **variables},
        capture_output=True,
        text=True,
    )


def test_the_secret_is_made_and_made_again_with_the_same_result(cluster):
    state, kubeconfig = cluster
    first = create_secret(kubeconfig, HF_TOKEN=CANARY + "\n", HF_REPO="acme/tuned")
    stored = dict(state.find("Secret", "huggingface-secret"))
    second = create_secret(kubeconfig, HF_TOKEN=CANARY, HF_REPO="acme/tuned")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert state.find("Secret", "huggingface-secret") == stored
    values = {key: base64.b64decode(value).decode() for key, value in stored["data"].items()}
    assert values == {"token": CANARY, "repo": "acme/tuned"}
    assert "created" in first.stdout
    assert "unchanged" in second.stdout
    assert CANARY not in first.stdout + first.stderr + second.stdout + second.stderr


def test_a_new_token_replaces_the_old_one(cluster):
    state, kubeconfig = cluster
    create_secret(kubeconfig, HF_TOKEN=CANARY, HF_REPO="acme/tuned")
    found = create_secret(kubeconfig, HF_TOKEN="hf_another", HF_REPO="acme/tuned")
    assert "Secret huggingface-secret configured in namespace" in found.stdout
    assert base64.b64decode(state.find("Secret", "huggingface-secret")["data"]["token"]) == b"hf_another"


def test_the_keys_of_service_llms_go_into_a_secret_of_their_own(cluster):
    state, kubeconfig = cluster
    found = create_secret(kubeconfig, "--service-llm", GEMINI_API_KEY=CANARY, OPENAI_API_KEY="")
    assert found.returncode == 0, found.stderr
    data = state.find("Secret", "service-llm-secret")["data"]
    assert {key: base64.b64decode(value).decode() for key, value in data.items()} == {"gemini_api_key": CANARY}
    assert CANARY not in found.stdout + found.stderr
    none = create_secret(kubeconfig, "--service-llm", GEMINI_API_KEY="")
    assert none.returncode == 2
    assert "none of GEMINI_API_KEY, GOOGLE_API_KEY, OPENAI_API_KEY, ANTHROPIC_API_KEY is set" in none.stderr


@pytest.mark.parametrize("missing", ["HF_TOKEN", "HF_REPO"])
@pytest.mark.parametrize("folder", [".", "llm-pipelines", "llm-endpoint"])
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


@pytest.mark.parametrize(
    ("status", "message"),
    [(403, "you lack that right"), (401, "does not accept your credentials"), (500, "the cluster answered 500")],
)
def test_a_refusal_is_explained_without_the_value(cluster, status, message):
    state, kubeconfig = cluster
    state.faults.append(("PATCH", "/secrets/", status, f"refused {CANARY}"))
    found = create_secret(kubeconfig, HF_TOKEN=CANARY, HF_REPO="acme/tuned")
    assert found.returncode == 2
    assert message in found.stderr
    assert CANARY not in found.stdout + found.stderr


def test_a_namespace_that_is_not_there_is_named(cluster):
    state, kubeconfig = cluster
    found = create_secret(kubeconfig, HF_TOKEN=CANARY, HF_REPO="acme/tuned", KFP_NAMESPACE="nowhere")
    assert found.returncode == 2
    assert "error: namespace nowhere does not exist. Create it, or set NAMESPACE to yours." in found.stderr


def test_no_cluster_is_one_line(tmp_path):
    found = create_secret(tmp_path / "none", HF_TOKEN=CANARY, HF_REPO="acme/tuned")
    assert found.returncode == 2
    assert found.stderr.startswith("error: no cluster is configured")


def test_an_unreachable_cluster_is_one_line(tmp_path):
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:9")
    found = create_secret(kubeconfig, HF_TOKEN=CANARY, HF_REPO="acme/tuned")
    assert found.returncode == 2
    assert "cannot reach the cluster at http://127.0.0.1:9" in found.stderr
    assert "Traceback" not in found.stderr
    assert base64.b64encode(CANARY.encode()).decode() not in found.stderr
