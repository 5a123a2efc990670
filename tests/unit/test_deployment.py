"""Pure parts of a deployment: which model, which image, how far a roll-out is, and where a page is found."""

import pytest
from support.kube_server import kube_server, write_kubeconfig

from components.core.deployment.deploying import RENDERED_ANNOTATION, choose_model
from components.core.deployment.kubernetes_api import connect
from components.core.deployment.rendering import SETTINGS_ANNOTATION, Release, _name_images
from components.core.deployment.rollout import read_state
from components.core.deployment.status import page_addresses

NAMESPACE = "kubeflow-user-example-com"


def config_map(model, rendered=None):
    return {
        "metadata": {"annotations": {RENDERED_ANNOTATION: rendered} if rendered else {}},
        "data": {"model_name": model},
    }


@pytest.mark.parametrize(
    ("wish", "rendered", "live", "repository", "expected"),
    [
        ("acme/wish", "base", config_map("old", "base"), "acme/tuned", "acme/wish"),
        (None, "base", None, "acme/tuned", "acme/tuned"),
        (None, "base", None, None, "base"),
        # what serves goes on serving, also when it was written by hand
        (None, "base", config_map("acme/served", "base"), "acme/tuned", "acme/served"),
        (None, "base", config_map("acme/by-hand"), "acme/tuned", "acme/by-hand"),
        # the overlay was changed since
        (None, "acme/new", config_map("acme/served", "base"), "acme/tuned", "acme/new"),
    ],
)
def test_the_model_is_the_wish_or_what_was_changed_last(wish, rendered, live, repository, expected):
    assert choose_model(wish, rendered, live, repository) == expected


@pytest.mark.parametrize(
    ("image", "registry", "tag", "expected"),
    [
        ("whetstone-api:0.1.0", "", "0.2.0", "whetstone-api:0.2.0"),
        ("whetstone-api:0.1.0-cuda", "host:5000/acme/", "0.2.0", "host:5000/acme/whetstone-api:0.2.0-cuda"),
        ("whetstone-ui:0.1.0", "host/acme", "", "host/acme/whetstone-ui:0.1.0"),
        ("elsewhere/other:1", "host/acme", "2", "elsewhere/other:1"),
        ("other/whetstone-api:1", "host/acme", "2", "other/whetstone-api:1"),
    ],
)
def test_only_our_images_get_registry_and_tag_and_variants_stay(image, registry, tag, expected):
    service = {"spec": {"predictor": {"containers": [{"image": image}]}}}
    page = {"spec": {"template": {"spec": {"containers": [{"image": image}]}}}}
    _name_images([service, page, {"kind": "ConfigMap"}], Release("api", "standard", NAMESPACE, registry, tag))
    assert service["spec"]["predictor"]["containers"][0]["image"] == expected
    assert page["spec"]["template"]["spec"]["containers"][0]["image"] == expected


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    with kube_server() as (state, address):
        monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "kubeconfig", address)))
        yield state, connect()


def page_of(settings):
    template = {"metadata": {"annotations": {SETTINGS_ANNOTATION: settings}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "llm-ui", "namespace": NAMESPACE, "generation": 2},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "llm-ui"}}, "template": template},
    }


@pytest.mark.parametrize(
    ("settings", "status", "ready", "line"),
    [
        (
            "old",
            (2, 2, 2, 2),
            False,
            "new pods",
        ),
        (
            "new",
            (1, 2, 2, 2),
            False,
            "new pods",
        ),
        (
            "new",
            (2, 3, 1, 3),
            False,
            "old ones",
        ),
        ("new", (2, 3, 2, 3), False, "1 old"),
        ("new", (2, 2, 2, 2), True, "2 of 2"),
    ],
)
def test_a_roll_out_is_done_when_all_pods_are_new_and_ready(cluster, settings, status, ready, line):
    state, connection = cluster
    names = ("observedGeneration", "replicas", "updatedReplicas", "availableReplicas")
    state.add({**page_of(settings), "status": dict(zip(names, status, strict=True))})
    found = read_state(connection, page_of("new"))
    assert (found.ready, line in found.line) == (ready, True), found.line


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"ip": "10.0.0.7"}, "http://10.0.0.7/"),
        ({"hostname": "lb.example"}, "http://lb.example/"),
        (None, "no address yet"),
    ],
)
def test_a_load_balancer_of_its_own_is_shown_with_its_address(cluster, entry, expected):
    state, connection = cluster
    status = {"loadBalancer": {"ingress": [entry]}} if entry else {}
    spec = {"type": "LoadBalancer"}
    metadata = {"name": "llm-ui", "namespace": NAMESPACE}
    state.add({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec, "status": status})
    assert any(expected in line for line in page_addresses(connection, NAMESPACE))
