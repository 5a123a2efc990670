"""The mesh with the real servers: the page behind the gateway's prefix, the endpoint behind Knative's policies."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.endpoint_server import EndpointServer
from support.envoy_sidecar import Sidecars, inbound, request
from support.istio_gateway import gateway
from support.istio_to_envoy import Document, Workload
from support.kubeflow_policies import kubeflow_policies
from support.overlays import KUBECTL, MANIFESTS, one, rendered
from support.spiffe import Authority
from support.streamlit_page import running_page

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")]

NAMESPACE = "kubeflow-user-example-com"
PREFIX = f"/llm-ui/{NAMESPACE}"
KEY = "the-key-of-this-test"
QUESTION = '{"question": "Who kept the light?", "context": "Ada kept the light.", "max_tokens": 4}'


def policies(folder: Path) -> list[Document]:
    """Ours of an overlay, and Kubeflow's."""
    return [*rendered(folder), *kubeflow_policies(NAMESPACE)]


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of the gateway before the real page and its sidecar."""
    folder = tmp_path_factory.mktemp("gateway")
    authority = Authority(folder / "certificates")
    overlay = MANIFESTS / "ui" / "overlays" / "kubeflow"
    virtual_service = one(rendered(overlay), "VirtualService", "llm-ui")
    page = Workload("llm-ui", NAMESPACE, {"app": "llm-ui"})
    with running_page("http://127.0.0.1:9") as address:
        sidecar = inbound(page, policies(overlay), authority, int(urlsplit(address).port or 0))
        with (
            Sidecars(folder / "sidecar", sidecar) as behind,
            Sidecars(folder / "envoy", gateway(virtual_service, authority, behind.ports["llm-ui"])) as front,
        ):
            yield front.ports["gateway"]


def test_the_page_and_the_files_that_it_links_to_are_found_under_the_prefix(outside: int) -> None:
    page = request(outside, f"{PREFIX}/")
    assert page.status == 200
    links = re.findall(r'(?:src|href)="\./([^"]+)"', page.body)
    assert any(link.endswith(".js") for link in links)
    assert {request(outside, f"{PREFIX}/{link}").status for link in links} == {200}
    assert not re.search(r'(?:src|href)="/', page.body), "a link from the root would leave the prefix"


def test_without_the_slash_the_page_redirects_to_it(outside: int) -> None:
    reply = request(outside, PREFIX)
    assert reply.status == 301
    assert urlsplit(reply.headers["location"]).path == f"{PREFIX}/"


def test_the_websocket_of_the_page_opens_through_the_gateway(outside: int) -> None:
    wanted = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Origin": f"http://127.0.0.1:{outside}",
    }
    assert request(outside, f"{PREFIX}/_stcore/stream", headers=wanted).status == 101


def test_the_gateway_knows_nothing_of_another_namespaces_page(outside: int) -> None:
    assert request(outside, "/llm-ui/team-b/").status == 404


def test_behind_the_activator_the_keys_in_the_pod_decide(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "certificates")
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "primary").write_text(KEY, encoding="utf-8")
    api = Workload("llm-api", NAMESPACE, {"serving.kserve.io/inferenceservice": "llm-api"})
    activator = authority.identity("knative-serving", "activator")
    # What generates is not the point here, and this one starts soonest.
    with EndpointServer(tmp_path, API_KEYS_DIR=str(keys), ENGINE="transformers") as endpoint:
        sidecar = inbound(api, policies(MANIFESTS / "api" / "overlays" / "knative"), authority, endpoint.port)
        with Sidecars(tmp_path / "envoy", sidecar) as running:

            def status(**headers: str) -> int:
                sent = {"content-type": "application/json", **headers}
                return request(running.ports["llm-api"], "/generate", "POST", activator, sent, QUESTION).status

            assert status() == 401
            assert status(authorization="Bearer a-wrong-one") == 401
            assert status(authorization=f"Bearer {KEY}") == 200
