"""The objects of an endpoint on a cluster, against the real schemas, our own rules and what they must say."""

import pytest
import yaml
from support.manifests import MANIFESTS
from support.strict_schemas import problems

from components.core.deployment.cluster_endpoints.documents import Served, deployment_documents, front_documents
from components.core.deployment.cluster_endpoints.names import service_name
from components.core.deployment.cluster_endpoints.routes import Routed, read_routed, read_traffic, virtual_services
from components.core.deployment.endpoint_documents import check_endpoint
from components.core.deployment.endpoints.record import DeploymentOptions
from components.core.deployment.rendering import find
from components.core.errors import ConfigError

NAMESPACE = "team-x"
HUB, VOLUME = "hf://acme/chat@0123456789abcdef", "pvc://models/team/chat/3"
TOKEN = ("huggingface-secret", "token")
ROUTED = [Routed("demo", 90_000), Routed("candidate", 1500)]


def made(model=HUB, products=(), **options):
    served = Served(model, "registry:5000/whetstone-api:1", {}, TOKEN, 10**9, products)
    return deployment_documents("ultra", "demo", NAMESPACE, served, DeploymentOptions(**options))


def predictor_of(documents):
    return find(documents, "InferenceService")["spec"]["predictor"]


@pytest.mark.parametrize(
    "documents",
    [
        [*front_documents("ultra", NAMESPACE), *made()],
        made(VOLUME, instances=3),
        made(gpus=2, products=("NVIDIA-A100-SXM4-80GB",)),
        virtual_services("ultra", NAMESPACE, [], {}),
        virtual_services("ultra", NAMESPACE, ROUTED, {}),
        virtual_services("ultra", NAMESPACE, ROUTED, {"demo": 90, "candidate": 10}),
    ],
    ids=["hub", "volume", "gpu", "empty", "no traffic", "split"],
)
def test_they_hold_against_the_schemas_and_our_rules_and_carry_the_endpoints_label(documents):
    assert [f"{d['kind']}: {problem}" for d in documents for problem in problems(d)] == []
    assert [str(finding) for finding in check_endpoint(documents, ["ultra-keys"])] == []
    assert {d["metadata"]["labels"]["whetstone.dev/endpoint"] for d in documents} == {"ultra"}
    assert {d["metadata"]["namespace"] for d in documents} == {NAMESPACE}


def test_a_secret_that_is_not_the_endpoints_is_a_finding():
    assert "Secret ultra-keys is neither" in str(check_endpoint(made())[0])


def test_a_deployment_has_its_timeouts_its_instances_the_endpoints_keys_and_name():
    documents = made(request_timeout_ms=1500, liveness_initial_delay_seconds=900, instances=2)
    predictor = predictor_of(documents)
    container = predictor["containers"][0]
    assert (predictor["timeout"], predictor["minReplicas"], predictor["maxReplicas"]) == (2, 2, 2)
    assert container["livenessProbe"]["initialDelaySeconds"] == 900
    probe = container["startupProbe"]
    assert probe["failureThreshold"] * probe["periodSeconds"] >= 900
    env = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert (env["SERVED_MODEL_NAME"], env["REQUEST_TIMEOUT_SECONDS"]) == ("ultra", "1.5")
    assert (env["MODEL"], env["API_KEYS_DIR"]) == ("acme/chat@0123456789abcdef", "/etc/llm-api/keys")
    keys = next(volume for volume in predictor["volumes"] if volume["name"] == "keys")
    assert keys["secret"]["secretName"] == "ultra-keys"
    # what selects pods in the mesh and finds them again
    wanted = {"whetstone.dev/endpoint": "ultra", "whetstone.dev/deployment": "demo"}
    assert wanted.items() <= predictor["labels"].items()
    strict = find(front_documents("ultra", NAMESPACE), "PeerAuthentication")["spec"]
    assert strict["selector"]["matchLabels"].items() <= predictor["labels"].items()
    assert strict["mtls"] == {"mode": "STRICT"}
    assert "selector" not in find(front_documents("ultra", NAMESPACE), "Service")["spec"]


def test_a_large_model_gets_the_time_of_its_size_where_that_is_more_than_the_liveness_delay():
    probe = predictor_of(made(liveness_initial_delay_seconds=1))["containers"][0]["startupProbe"]
    assert probe["failureThreshold"] * probe["periodSeconds"] > 60


def test_gpus_are_asked_for_as_the_manifests_do_and_on_the_types_that_are_allowed():
    predictor = predictor_of(made(gpus=2, products=("NVIDIA-A100-SXM4-80GB", "NVIDIA-H100")))
    container = predictor["containers"][0]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "2"
    terms = predictor["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (expression,) = terms["nodeSelectorTerms"][0]["matchExpressions"]
    assert expression == {
        "key": "nvidia.com/gpu.product",
        "operator": "In",
        "values": ["NVIDIA-A100-SXM4-80GB", "NVIDIA-H100"],
    }
    patches = yaml.safe_load((MANIFESTS / "components" / "gpu" / "gpu.yaml").read_text())
    shipped = {patch["path"]: patch.get("value") for patch in patches}
    resources, base = container["resources"], "/spec/predictor/containers/0/resources"
    for side in ("requests", "limits"):
        assert resources[side]["memory"] == shipped[f"{base}/{side}/memory"]
    assert predictor["tolerations"] == shipped["/spec/predictor/tolerations"]
    for place, list_of in (("containers/0/env", container["env"]), ("volumes", predictor["volumes"])):
        assert shipped[f"/spec/predictor/{place}/-"] in list_of
    assert shipped["/spec/predictor/containers/0/volumeMounts/-"] in container["volumeMounts"]
    assert "scaleMetric" not in predictor


def test_what_the_routes_say_is_read_back():
    for split in ({}, {"demo": 100}, {"demo": 90, "candidate": 10}):
        for service in virtual_services("ultra", NAMESPACE, ROUTED, split):
            assert read_traffic(service) == split
            assert read_routed(service) == ROUTED


def test_the_sign_in_of_the_gateway_does_not_reach_the_pods_and_the_longest_timeout_of_the_split_holds():
    outside, inside = virtual_services("ultra", NAMESPACE, ROUTED, {"demo": 90, "candidate": 10})
    split = outside["spec"]["http"][-1]
    assert split["headers"]["request"]["remove"] == ["authorization", "cookie"]
    assert split["match"] == [{"uri": {"prefix": "/endpoints/team-x/ultra/"}}]
    assert split["timeout"] == "90000ms"
    assert [entry["timeout"] for entry in outside["spec"]["http"][1:3]] == ["90000ms", "1500ms"]
    assert [entry.get("headers", {}).get("request") for entry in inside["spec"]["http"]] == [None] * 5
    assert inside["spec"]["hosts"] == ["ultra.team-x.svc.cluster.local"]


def test_names_that_are_too_long_or_taken_are_refused():
    with pytest.raises(ConfigError, match="too long for an InferenceService"):
        service_name("a" * 30, "b" * 30)
    with pytest.raises(ConfigError, match="cannot be called llm-api"):
        service_name("llm", "api")
