"""Who reaches the endpoint and the page in Kubeflow's mesh: our overlays' policies, enforced by a real Envoy.

Each workload has its sidecar's inbound listener with the policies that select it, ours and Kubeflow's own; callers
come with certificates as the mesh gives them. Not played here, because it never passes that listener: the kubelet's
probes and a Prometheus without a sidecar, both of which go to the sidecar's agent (test_policies_pods.py).
"""

import dataclasses
import os
import ssl
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.application import Application
from support.envoy_sidecar import Sidecars, inbound, request
from support.istio_to_envoy import Document, Workload
from support.kubeflow_policies import GATEWAY, OWNER, kubeflow_policies, principal
from support.overlays import KUBECTL, MANIFESTS, in_namespace, one, rendered
from support.spiffe import Authority

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")]

DOCUMENTED = MANIFESTS.parent / "docs" / "policies.md"
NAMESPACE = "kubeflow-user-example-com"
UI = (NAMESPACE, "llm-ui")
NEIGHBOUR = (NAMESPACE, "default-editor")
STRANGER = ("team-b", "llm-ui")
PROMETHEUS = ("monitoring", "prometheus")
ACTIVATOR = ("knative-serving", "activator")
API_OVERLAYS, UI_OVERLAYS = MANIFESTS / "api" / "overlays", MANIFESTS / "ui" / "overlays"
REFUSED = 403
GET, POST = "GET", "POST"

Ask = Callable[..., int]


def predictor(name: str, namespace: str = NAMESPACE) -> Workload:
    """Pods of an InferenceService, with the labels that KServe gives them."""
    labels = {"serving.kserve.io/inferenceservice": name, "component": "predictor", "app": f"isvc.{name}-predictor"}
    return Workload(name, namespace, labels)


def page(namespace: str = NAMESPACE) -> Workload:
    """Pods of the page, with the labels of its Deployment."""
    deployment = one(rendered(UI_OVERLAYS / "kubeflow"), "Deployment", "llm-ui")
    return Workload("llm-ui", namespace, deployment["spec"]["template"]["metadata"]["labels"])


def without(documents: list[Document], kind: str, name: str) -> list[Document]:
    """All but one document, which must be there."""
    left = [doc for doc in documents if (doc["kind"], doc["metadata"]["name"]) != (kind, name)]
    assert len(left) == len(documents) - 1
    return left


def sidecars(folder: Path) -> Iterator[tuple[Workload, list[Document]]]:
    """Workloads with the policies around them; the name says what is special."""
    kubeflow = kubeflow_policies(NAMESPACE)
    api, ui = predictor("llm-api"), page()
    ours, knative = list(rendered(API_OVERLAYS / "kubeflow")), list(rendered(API_OVERLAYS / "knative"))
    ours_page = list(rendered(UI_OVERLAYS / "kubeflow"))
    yield api, ours + kubeflow
    yield ui, ours_page + kubeflow
    yield renamed(api, "api-permissive"), without(ours, "PeerAuthentication", "llm-api") + kubeflow
    yield renamed(ui, "ui-permissive"), without(ours_page, "PeerAuthentication", "llm-ui") + kubeflow
    yield renamed(api, "api-naive"), without(ours, "AuthorizationPolicy", "llm-api-no-others") + kubeflow
    yield renamed(ui, "ui-naive"), without(ours_page, "AuthorizationPolicy", "llm-ui-no-others") + kubeflow
    yield renamed(api, "api-forgotten"), without(ours, "AuthorizationPolicy", "llm-api-callers") + kubeflow[:1]
    yield renamed(api, "api-plain-istio"), ours
    yield renamed(api, "api-knative"), knative + kubeflow
    yield predictor("llm-vllm"), list(rendered(API_OVERLAYS / "vllm")) + kubeflow
    mine = rendered(in_namespace(folder / "team-b", API_OVERLAYS / "kubeflow", "team-b"))
    yield renamed(api, "api-documented"), list(rendered(documented(folder / "documented"))) + kubeflow
    # Ours alone: Kubeflow's let in the namespace that they are in, and would hide an ALLOW of ours for another one.
    yield renamed(predictor("llm-api", "team-b"), "api-team-b"), list(mine)


def documented(folder: Path) -> Path:
    """The overlay that the documentation gives as an example, as if it stood beside ours."""
    text = DOCUMENTED.read_text(encoding="utf-8").partition("## Another caller")[2]
    overlay = textwrap.dedent("\n".join(line for line in text.splitlines() if line.startswith("    ")))
    folder.mkdir(parents=True)
    for name in ("../kubeflow", "../../namespace"):
        overlay = overlay.replace(f"- {name}\n", f"- {os.path.relpath(API_OVERLAYS / 'x' / name, folder)}\n")
    (folder / "kustomization.yaml").write_text(overlay, encoding="utf-8")
    return folder


def renamed(workload: Workload, name: str) -> Workload:
    """The same pods under another name of the listener."""
    return dataclasses.replace(workload, name=name)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def application() -> Iterator[Application]:
    with Application() as running:
        yield running


@pytest.fixture(scope="module")
def ports(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority, application: Application
) -> Iterator[dict[str, int]]:
    folder = tmp_path_factory.mktemp("mesh")
    placed = sidecars(folder / "overlays")
    listeners = [inbound(workload, documents, authority, application.port) for workload, documents in placed]
    with Sidecars(folder / "envoy", *listeners) as running:
        yield running.ports


@pytest.fixture(scope="module")
def identities(authority: Authority) -> dict[tuple[str, str], ssl.SSLContext]:
    callers = (UI, NEIGHBOUR, STRANGER, PROMETHEUS, ACTIVATOR, GATEWAY, (NAMESPACE, "llm-api"))
    return {caller: authority.identity(*caller) for caller in callers}


@pytest.fixture
def ask(ports: dict[str, int], identities: dict[Any, ssl.SSLContext], application: Application) -> Ask:
    """Ask a workload as somebody; the status, and a refusal has not reached the application."""

    def asked(workload: str, caller: tuple[str, str] | None, path: str, method: str = POST, **headers: str) -> int:
        before = len(application.reached)
        identity = identities[caller] if caller else None
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        status = request(ports[workload], path, method, identity, sent).status
        assert (len(application.reached) > before) == (status == 200)
        return status

    return asked


@pytest.mark.parametrize(
    ("workload", "caller", "method", "path", "status"),
    [
        ("llm-api", UI, POST, "/generate", 200),
        ("llm-api", UI, POST, "/v1/chat/completions", 200),
        ("llm-api", NEIGHBOUR, POST, "/generate", REFUSED),
        ("llm-api", STRANGER, POST, "/generate", REFUSED),
        ("llm-api", PROMETHEUS, POST, "/generate", REFUSED),
        ("llm-api", GATEWAY, POST, "/generate", REFUSED),
        ("llm-api", ACTIVATOR, POST, "/generate", REFUSED),
        ("llm-api", NEIGHBOUR, GET, "/v1/models", REFUSED),
        ("llm-api", NEIGHBOUR, GET, "/wait-for-drain", REFUSED),
        ("llm-api", PROMETHEUS, GET, "/metrics", 200),
        ("llm-api", STRANGER, GET, "/healthz", 200),
        ("llm-api", NEIGHBOUR, GET, "/readyz", 200),
        ("llm-api", STRANGER, POST, "/metrics", REFUSED),
        ("llm-api", GATEWAY, GET, "/healthz", 200),
        ("llm-ui", GATEWAY, GET, "/", 200),
        ("llm-ui", GATEWAY, "PUT", "/_stcore/upload_file/1/2", 200),
        ("llm-ui", NEIGHBOUR, GET, "/", REFUSED),
        ("llm-ui", UI, GET, "/", REFUSED),
        ("llm-ui", STRANGER, GET, "/_stcore/stream", REFUSED),
        ("llm-ui", STRANGER, GET, "/", REFUSED),
        ("llm-ui", STRANGER, GET, "/_stcore/health", 200),
        ("llm-ui", NEIGHBOUR, POST, "/_stcore/health", REFUSED),
        ("llm-vllm", (NAMESPACE, "llm-api"), POST, "/openai/v1/completions", 200),
        ("llm-vllm", UI, POST, "/openai/v1/completions", REFUSED),
        ("llm-vllm", NEIGHBOUR, POST, "/openai/v1/completions", REFUSED),
    ],
)
def test_each_identity_reaches_what_is_meant_for_it(
    ask: Ask, workload: str, caller: tuple[str, str], method: str, path: str, status: int
) -> None:
    assert ask(workload, caller, path, method) == status


@pytest.mark.parametrize(("workload", "path"), [("llm-api", "/generate"), ("llm-api", "/metrics"), ("llm-ui", "/")])
def test_without_mutual_tls_the_connection_is_broken_off(
    ports: dict[str, int], authority: Authority, tmp_path_factory: pytest.TempPathFactory, workload: str, path: str
) -> None:
    forged = Authority(tmp_path_factory.mktemp("forged")).identity(*(GATEWAY if workload == "llm-ui" else UI))
    forged.check_hostname, forged.verify_mode = False, ssl.CERT_NONE
    for identity in (None, authority.nobody(), forged):
        with pytest.raises(OSError, match=r"(?i)closed|reset|alert|certificate|EOF|broken"):
            request(ports[workload], path, GET, identity)


@pytest.mark.parametrize(
    ("workload", "method", "path", "status"),
    [
        ("api-permissive", POST, "/generate", REFUSED),
        ("api-permissive", GET, "/metrics", 200),
        ("ui-permissive", GET, "/", REFUSED),
    ],
)
def test_where_the_mesh_takes_plain_text_nobody_is_refused_by_the_policies_alone(
    ask: Ask, workload: str, method: str, path: str, status: int
) -> None:
    assert ask(workload, None, path, method) == status


SPOOFED = {
    "kubeflow_userid": OWNER,
    "x_forwarded_client_cert": f"By=spiffe://cluster.local;Hash=00;URI=spiffe://{principal(*UI)}",
    "authorization": "Bearer forged",
    "x_forwarded_for": "127.0.0.1",
    "x_envoy_external_address": "127.0.0.1",
    "x_envoy_internal": "true",
    "x_envoy_original_path": "/metrics",
    "x_original_url": "/metrics",
    "host": "llm-ui",
}


@pytest.mark.parametrize("header", SPOOFED)
@pytest.mark.parametrize(
    ("workload", "caller"),
    [
        ("llm-api", NEIGHBOUR),
        ("llm-api", STRANGER),
        ("llm-api", GATEWAY),
        ("api-permissive", None),
        ("llm-ui", NEIGHBOUR),
        ("ui-permissive", None),
    ],
)
def test_a_header_makes_nobody_somebody_else(
    ask: Ask, workload: str, caller: tuple[str, str] | None, header: str
) -> None:
    assert ask(workload, caller, "/generate", **{header: SPOOFED[header]}) == REFUSED
    assert ask(workload, caller, "/generate", **SPOOFED) == REFUSED


@pytest.mark.parametrize("method", [GET, POST])
@pytest.mark.parametrize(
    "path",
    [
        "//generate", "/generate/", "/GENERATE", "/metrics/", "//metrics", "/METRICS", "/metrics/generate",
        "/healthz/../generate", "//healthz/../generate", "/healthz/..//generate", "/healthz/%2e%2e/generate",
        "/healthz/.%2E/generate", "/healthz/..;/generate", "/healthz;/../generate", "/healthz%2f..%2fgenerate",
        "/healthz/%2e%2e%2fgenerate", "/healthz%252f..%252fgenerate", "/healthz\\..\\generate",
        "/healthz%5c..%5cgenerate",
        "/healthz;x=1", "/%68ealthz/../generate", "/generate?/metrics", "/generate?path=/healthz", "/generate#/metrics",
        "/generate%23/metrics", "/generate%3f/metrics", "/metrics%00/../generate", "/metrics%0a",
        "http://llm-api/healthz/../generate",
    ],
)  # fmt: skip
def test_no_spelling_of_a_path_gets_past_the_policies(ask: Ask, path: str, method: str) -> None:
    # 400: Envoy itself refuses what no server should read.
    assert ask("llm-api", NEIGHBOUR, path, method) in (REFUSED, 400)


@pytest.mark.parametrize("path", ["/metrics?x=/../../generate", "/metrics#/../generate", "/%6detrics", "/x/../metrics"])
def test_what_the_policies_take_for_metrics_reaches_the_application_as_metrics(
    ask: Ask, application: Application, path: str
) -> None:
    assert ask("llm-api", NEIGHBOUR, path, GET) == 200
    assert application.reached[-1].partition("?")[0] == "GET /metrics"


@pytest.mark.parametrize(("workload", "path"), [("api-naive", "/generate"), ("ui-naive", "/")])
def test_without_the_deny_kubeflow_lets_the_whole_namespace_in(ask: Ask, workload: str, path: str) -> None:
    assert ask(workload, NEIGHBOUR, path) == 200
    assert ask(workload, STRANGER, path) == REFUSED


def test_without_the_allow_kubeflow_refuses_even_the_page(ask: Ask) -> None:
    assert ask("api-forgotten", UI, "/generate") == REFUSED


def test_the_policies_hold_in_an_istio_without_kubeflow(ask: Ask) -> None:
    assert ask("api-plain-istio", UI, "/generate") == 200
    assert ask("api-plain-istio", NEIGHBOUR, "/generate") == REFUSED


def test_a_caller_named_as_documented_reaches_the_endpoint_and_still_no_other(ask: Ask) -> None:
    assert ask("api-documented", NEIGHBOUR, "/generate") == 200
    assert ask("api-documented", UI, "/generate") == 200
    assert ask("api-documented", STRANGER, "/generate") == REFUSED


def test_the_identities_follow_the_namespace_of_the_overlay(ask: Ask) -> None:
    assert ask("api-team-b", STRANGER, "/generate") == 200
    assert ask("api-team-b", UI, "/generate") == REFUSED


def test_behind_knative_the_activator_asks_and_other_pods_still_may_not(ask: Ask) -> None:
    assert ask("api-knative", ACTIVATOR, "/generate") == 200
    assert ask("api-knative", NEIGHBOUR, "/generate") == REFUSED
    assert ask("api-knative", GATEWAY, "/generate", kubeflow_userid=OWNER) == REFUSED
