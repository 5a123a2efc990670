"""A model brought behind an endpoint of its own on a cluster.

The real client over HTTP against a stand-in API server (support.kube_server) with stand-in controllers for KServe, the
Deployment controller and the kubelet (support.controllers); the Hub is the stand-in of support.hub_server.
"""

import dataclasses
import re
import shutil
from pathlib import Path

import pytest
from support.controllers import MESSAGES, Controllers
from support.head_output import write_head_run
from support.kube_server import kube_server, write_kubeconfig

from components.core.deployment.deploying import prepare
from components.core.deployment.online import Endpoint, deploy_model
from components.core.deployment.rendering import Release
from components.core.deployment.rollout import NotReady, Patience
from components.core.errors import ConfigError, RegistryError
from components.core.recipe import RegistryConfig
from components.core.registry import change_access, publish_head, register_head
from components.core.settings import DEFAULT_NAMESPACE, Settings

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).resolve().parents[2]
NAME, OWN = "starter-classification-single-label", "starter-classification-single-label"
TOKEN = "hf_CanaryTokenThatMustNeverShow"
QUICK = Patience(total=20, failing=0, poll=0.05)


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    with kube_server() as (state, address):
        monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "kubeconfig", address)))
        state.controllers = Controllers(state)
        yield state


@pytest.fixture
def run(tmp_path, hub):
    return write_head_run(tmp_path / "run", hf_token="hf_write", hf_repo="acme/reviews", hf_endpoint=hub.url)


def applied(state):
    return [path.rsplit("/", 2)[1:] for method, path in state.writes() if method == "PATCH"]


def test_a_published_model_gets_an_inference_service_and_a_second_run_changes_nothing(cluster, run, tmp_path):
    published = publish_head(*run.inputs(), tmp_path / "out")
    said: list[str] = []
    endpoint = deploy_model(published, NAME, run.settings, patience=QUICK, say=said.append)
    address = f"http://{OWN}-predictor.{DEFAULT_NAMESPACE}.svc.cluster.local"
    assert endpoint == Endpoint(address, OWN, "cluster")
    container = cluster.find("InferenceService", OWN)["spec"]["predictor"]["containers"][0]
    env = {entry["name"]: entry for entry in container["env"]}
    assert env["MODEL"]["value"] == published.uri.removeprefix("hf://")
    assert env["HF_TOKEN"]["valueFrom"]["secretKeyRef"]["name"] == "huggingface-secret"
    assert set(cluster.find("Secret", "llm-api-keys")["data"]) == {"primary", "secondary"}
    assert any("ready" in line for line in said)
    before = {key: document["metadata"]["resourceVersion"] for key, document in cluster.objects.items()}
    assert deploy_model(published, NAME, run.settings, patience=QUICK, say=said.append) == endpoint
    assert {key: document["metadata"]["resourceVersion"] for key, document in cluster.objects.items()} == before


def test_another_version_replaces_the_pods(cluster, run, tmp_path):
    first = publish_head(*run.inputs(), tmp_path / "out")
    deploy_model(first, NAME, run.settings, patience=QUICK)
    (old,) = cluster.names("Pod")
    deploy_model(dataclasses.replace(first, uri="hf://acme/reviews@" + "a" * 40), NAME, run.settings, patience=QUICK)
    (new,) = cluster.names("Pod")
    assert new != old
    assert cluster.names("InferenceService") == [OWN]


def test_the_endpoints_own_secret_is_used_where_there_is_one(cluster, run):
    secret = {"apiVersion": "v1", "kind": "Secret", "data": {"hf_token": "eA=="}}
    cluster.add({**secret, "metadata": {"name": "llm-api-secret", "namespace": DEFAULT_NAMESPACE}})
    deploy_model("hf://acme/other@" + "b" * 40, "other", run.settings, patience=QUICK)
    container = cluster.find("InferenceService", "other")["spec"]["predictor"]["containers"][0]
    env = {entry["name"]: entry for entry in container["env"]}
    assert env["HF_TOKEN"]["valueFrom"]["secretKeyRef"]["name"] == "llm-api-secret"


def test_a_model_on_a_volume_is_mounted(cluster, tmp_path):
    settings = Settings(whetstone_home=tmp_path)
    deploy_model("pvc://models/reviews/3", "reviews", settings, where="cluster", patience=QUICK)
    container = cluster.find("InferenceService", "reviews")["spec"]["predictor"]["containers"][0]
    assert {"name": "MODEL", "value": "/mnt/models"} in container["env"]


def test_no_token_is_sent_to_the_cluster(cluster, hub, tmp_path):
    settings = Settings(whetstone_home=tmp_path, hf_token=TOKEN, hf_endpoint=hub.url)
    said: list[str] = []
    deploy_model("hf://acme/other@" + "b" * 40, "other", settings, patience=QUICK, say=said.append)
    assert not [body for body in [*cluster.bodies, *said] if TOKEN in body]


def test_a_model_of_another_namespace_is_refused_before_anything_is_applied(cluster, run, tmp_path):
    run.settings = run.settings.model_copy(update={"kfp_namespace": "team-a"})
    run.registry = RegistryConfig(restricted=True)
    published = publish_head(*run.inputs(), tmp_path / "out")
    other = run.settings.model_copy(update={"kfp_namespace": DEFAULT_NAMESPACE})
    with pytest.raises(
        RegistryError, match=f"restricted to namespace team-a and cannot be used from.*{DEFAULT_NAMESPACE}"
    ):
        deploy_model(published, NAME, other, patience=QUICK)
    assert cluster.writes() == []


def test_a_restriction_that_came_after_the_upload_is_read_from_the_registry(cluster, run, tmp_path):
    run.settings = run.settings.model_copy(update={"kfp_namespace": "team-a"})
    published = publish_head(*run.inputs(), tmp_path / "out")
    register_head(published, *run.inputs())
    other = run.settings.model_copy(update={"kfp_namespace": DEFAULT_NAMESPACE})
    deploy_model(published, NAME, other, patience=QUICK)
    writes = len(cluster.writes())
    assert [each.in_files for each in change_access(NAME, "1", True, run.settings)] == [False]
    with pytest.raises(RegistryError, match="restricted to namespace team-a"):
        deploy_model(published, NAME, other, patience=QUICK)
    assert len(cluster.writes()) == writes


def test_what_does_not_become_ready_says_why(cluster, run):
    cluster.controllers.fault = "image"
    with pytest.raises(NotReady, match=re.escape(MESSAGES["image"][:20])):
        deploy_model("hf://acme/other@" + "b" * 40, "other", run.settings, patience=QUICK)


def test_a_name_that_is_taken_is_not_overwritten(cluster, run):
    cluster.add(
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": "other", "namespace": DEFAULT_NAMESPACE},
            "spec": {"predictor": {"containers": [{"name": "kserve-container", "image": "other"}]}},
        }
    )
    with pytest.raises(ConfigError, match="serves something that was not deployed from here. Choose another name"):
        deploy_model("hf://acme/other@" + "b" * 40, "other", run.settings, patience=QUICK)
    deploy_model("hf://acme/other@" + "b" * 40, "My-Model", run.settings, patience=QUICK)
    with pytest.raises(ConfigError, match="serves the model My-Model"):
        deploy_model("hf://acme/other@" + "b" * 40, "my-model", run.settings, patience=QUICK)


def test_without_the_right_nothing_is_changed_and_the_right_is_named(cluster, run):
    cluster.denied.add(("patch", "inferenceservices.serving.kserve.io"))
    with pytest.raises(Exception, match="nothing was changed:(.|\n)*you lack that right"):
        deploy_model("hf://acme/other@" + "b" * 40, "other", run.settings, patience=QUICK)
    assert cluster.names("NetworkPolicy") == []


def test_in_a_pod_a_folder_of_the_pod_cannot_be_served(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    run = write_head_run(tmp_path / "run")
    published = publish_head(*run.inputs(), tmp_path / "out")
    with pytest.raises(ConfigError, match=r"cannot read it. Publish it to the Hub \(HF_REPO and HF_TOKEN\)"):
        deploy_model(published, NAME, run.settings, patience=QUICK)


@pytest.mark.skipif(not (shutil.which("kubectl") or shutil.which("kustomize")), reason="needs kubectl or kustomize")
def test_make_api_deploy_refuses_a_model_of_another_namespace_on_the_hub_or_in_a_folder(run, tmp_path):
    run.settings = run.settings.model_copy(update={"kfp_namespace": "team-a"})
    run.registry = RegistryConfig(restricted=True)
    published = publish_head(*run.inputs(), tmp_path / "out")
    for model in (published.uri.removeprefix("hf://"), str(tmp_path / "out")):
        assert prepare(Release("api", "standard", "team-a"), ROOT, run.settings, model)
        with pytest.raises(
            RegistryError, match="restricted to namespace team-a and cannot be used from namespace team-b"
        ):
            prepare(Release("api", "standard", "team-b"), ROOT, run.settings, model)
