"""What goes around the policies on purpose, to the sidecar's agent, is set up so in the pods that the overlays make.

Injection points the kubelet's probes and the prometheus.io annotations to the agent's ports, which no policy and no
mTLS guards. Injection itself runs in a cluster only; what it needs from the manifests is looked at here.
"""

from pathlib import Path

import pytest
from support.istio_to_envoy import Document
from support.overlays import KUBECTL, MANIFESTS, in_namespace, one, rendered

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")]

API_OVERLAYS, UI_OVERLAYS = MANIFESTS / "api" / "overlays", MANIFESTS / "ui" / "overlays"


def pods(overlay: Path) -> Document:
    """Metadata and containers of the pods that an overlay makes, for the endpoint or the page."""
    for doc in rendered(overlay):
        if doc["kind"] == "InferenceService" and doc["metadata"]["name"] == "llm-api":
            predictor_spec: Document = doc["spec"]["predictor"]
            return {"labels": {}, "annotations": {}, **predictor_spec}
        if doc["kind"] == "Deployment":
            template: Document = doc["spec"]["template"]
            return {"annotations": {}, **template["metadata"], "containers": template["spec"]["containers"]}
    raise AssertionError(f"{overlay} has neither")


MESH_OVERLAYS = [API_OVERLAYS / "kubeflow", API_OVERLAYS / "knative", UI_OVERLAYS / "kubeflow"]


@pytest.mark.parametrize("overlay", MESH_OVERLAYS, ids=lambda path: f"{path.parts[-3]}-{path.name}")
def test_every_pod_has_a_sidecar_and_probes_that_the_mesh_moves_to_its_agent(overlay: Path) -> None:
    found = pods(overlay)
    assert found["labels"]["sidecar.istio.io/inject"] == "true"
    assert "sidecar.istio.io/rewriteAppHTTPProbers" not in found["annotations"]
    assert "traffic.sidecar.istio.io/excludeInboundPorts" not in found["annotations"]
    for container in found["containers"]:
        probes = [container[kind] for kind in ("startupProbe", "readinessProbe", "livenessProbe")]
        # Only these are moved; a tcpSocket probe would find the sidecar, not the application.
        assert all("httpGet" in probe for probe in probes)


def test_a_prometheus_without_a_sidecar_is_sent_to_the_agent_by_injection() -> None:
    annotations = pods(API_OVERLAYS / "kubeflow")["annotations"]
    assert annotations["prometheus.io/scrape"] == "true"
    assert (annotations["prometheus.io/port"], annotations["prometheus.io/path"]) == ("8080", "/metrics")


def test_no_load_balancer_leads_around_the_gateway() -> None:
    service = one(rendered(UI_OVERLAYS / "kubeflow"), "Service", "llm-ui")
    assert service["spec"]["type"] == "ClusterIP"


@pytest.mark.parametrize("overlay", MESH_OVERLAYS, ids=lambda path: f"{path.parts[-3]}-{path.name}")
def test_an_overlay_in_another_namespace_names_no_other(overlay: Path, tmp_path: Path) -> None:
    documents = rendered(in_namespace(tmp_path / "team-b", overlay, "team-b"))
    assert "kubeflow-user-example-com" not in repr(documents)
