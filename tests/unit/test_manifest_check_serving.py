"""Rules about an InferenceService, its names and its containers: each broken once, and once not."""

import pytest
from support.manifests import CONTAINER, document, endpoint, endpoint_container, page

from components.core.deployment.manifest_check import check_documents


def found(*documents):
    """Path and finding of each."""
    return [(finding.path, finding.what) for finding in check_documents(documents)]


def only(*documents):
    (finding,) = check_documents(documents)
    return finding


def named(name):
    service = endpoint()
    service["metadata"]["name"] = name
    return service


def test_a_sound_endpoint_and_page_have_no_findings():
    assert found(endpoint(), page()) == []
    assert found(endpoint("Knative")) == []


@pytest.mark.parametrize(
    ("mode", "what", "remedy"),
    [
        (None, "no deployment mode", "Write Standard."),
        ("RawDeployment", "KServe up to 0.15", "Write Standard."),
        ("Serverless", "KServe up to 0.15", "Write Knative."),
        ("standard", "is no deployment mode", "Write Standard."),
    ],
)
def test_a_missing_old_or_misspelt_deployment_mode_is_found(mode, what, remedy):
    service = endpoint()
    service["metadata"]["annotations"] = {"serving.kserve.io/deploymentMode": mode} if mode else {}
    finding = only(service)
    assert finding.document == "InferenceService/llm-api"
    assert finding.path == "metadata.annotations.serving.kserve.io/deploymentMode"
    assert what in finding.what
    assert finding.remedy == remedy


MODEL = {"modelFormat": {"name": "huggingface"}, "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}


def test_two_implementations_in_one_predictor_are_found():
    assert "2 implementations: model, containers" in only(endpoint(model=MODEL)).what
    service = endpoint(model=MODEL, sklearn=MODEL)
    del service["spec"]["predictor"]["containers"]
    assert "2 implementations: model, sklearn" in only(service).what


def test_no_implementation_is_found_and_one_with_a_sidecar_is_not():
    service = endpoint()
    del service["spec"]["predictor"]["containers"]
    assert "0 implementations" in only(service).what
    assert found(endpoint(model=MODEL, containers=[{**CONTAINER, "name": "sidecar"}])) == []


def with_storage(uri):
    service = endpoint(model={**MODEL, "storageUri": uri})
    del service["spec"]["predictor"]["containers"]
    return service


@pytest.mark.parametrize("uri", ["foo://bucket/model", "/models/mine", "hf://", "s3:/bucket"])
def test_a_storage_address_that_nothing_can_fetch_is_found(uri):
    assert only(with_storage(uri)).path == "spec.predictor.model.storageUri"


@pytest.mark.parametrize("uri", ["hf://user/name", "s3://bucket/model", "pvc://claim/model", "https://host/model.tar"])
def test_a_storage_address_that_kserve_knows_passes(uri):
    assert found(with_storage(uri)) == []


def test_an_unknown_scheme_of_a_custom_container_is_found():
    service = endpoint_container(env=[{"name": "STORAGE_URI", "value": "foo://bucket"}])
    assert only(service).path == "spec.predictor.containers.0.env.STORAGE_URI"
    assert found(endpoint_container(env=[{"name": "STORAGE_URI", "value": "gs://bucket/model"}])) == []


@pytest.mark.parametrize("metric", ["rps", "concurrency"])
def test_a_metric_of_requests_is_found_in_standard_mode_only(metric):
    assert "silently becomes CPU" in only(endpoint(scaleMetric=metric)).what
    assert found(endpoint("Knative", scaleMetric=metric)) == []


def test_a_metric_of_the_node_is_found_in_knative_mode_only():
    assert found(endpoint(scaleMetric="cpu")) == []
    assert only(endpoint("Knative", scaleMetric="cpu")).path == "spec.predictor.scaleMetric"


def test_more_replicas_at_least_than_at_most_are_found():
    assert "3 is more than maxReplicas (2)" in only(endpoint(minReplicas=3, maxReplicas=2)).what
    assert found(endpoint(minReplicas=2, maxReplicas=2)) == []
    assert (
        "2 is more than maxReplicaCount (1)"
        in only(document("ScaledObject", minReplicaCount=2, maxReplicaCount=1)).what
    )


@pytest.mark.parametrize("name", [True, "y", "off", "LLM", "1llm", "llm-", "llm_api", "a" * 54])
def test_a_name_that_yaml_or_kserve_would_misread_is_found(name):
    assert only(named(name)).path == "metadata.name"


@pytest.mark.parametrize("name", ["llm-api", "x", "a" * 53])
def test_a_good_name_passes(name):
    assert found(named(name)) == []


def test_a_namespace_that_is_a_boolean_is_found():
    service = endpoint()
    service["metadata"]["namespace"] = False
    assert only(service).path == "metadata.namespace"


@pytest.mark.parametrize("image", ["whetstone-api", "whetstone-api:latest", "registry:5000/whetstone-api"])
def test_an_image_without_a_fixed_tag_is_found(image):
    assert only(endpoint_container(image=image)).path == "spec.predictor.containers.0.image"


@pytest.mark.parametrize("image", ["whetstone-api:0.1.0-cuda", "host/whetstone-api@sha256:" + "0" * 64])
def test_an_image_with_a_tag_or_a_digest_passes(image):
    assert found(endpoint_container(image=image)) == []


def test_a_container_without_requests_is_found_in_a_runtime_too():
    assert "no request for cpu and memory" in only(endpoint_container(resources=None)).what
    assert "no request for memory" in only(endpoint_container(resources={"requests": {"cpu": "1"}})).what
    service = endpoint(model={"modelFormat": {"name": "huggingface"}})
    del service["spec"]["predictor"]["containers"]
    assert only(service).path == "spec.predictor.model.resources.requests"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("runAsNonRoot", False),
        ("readOnlyRootFilesystem", False),
        ("allowPrivilegeEscalation", True),
        ("privileged", True),
    ],
)
def test_a_container_with_more_rights_than_it_needs_is_found(field, value):
    service = endpoint_container(securityContext={**CONTAINER["securityContext"], field: value})
    assert only(service).path == f"spec.predictor.containers.0.securityContext.{field}"


def test_root_is_found_even_where_the_pod_says_non_root():
    service = endpoint_container(securityContext={**CONTAINER["securityContext"], "runAsUser": 0})
    assert only(service).path.endswith("runAsNonRoot")


def test_the_pods_user_counts_for_its_containers():
    context = {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False}
    service = endpoint_container(securityContext=context)
    service["spec"]["predictor"]["securityContext"] = {"runAsNonRoot": True, "runAsUser": 10001}
    assert found(service) == []


@pytest.mark.parametrize("port", [8081, "metrics"])
def test_a_probe_of_a_port_that_the_container_does_not_have_is_found(port):
    service = endpoint_container(livenessProbe={"httpGet": {"path": "/healthz", "port": port}})
    assert only(service).path == "spec.predictor.containers.0.livenessProbe"


def test_a_probe_of_a_named_port_passes():
    assert found(endpoint_container(livenessProbe={"tcpSocket": {"port": "http1"}})) == []


@pytest.mark.parametrize(
    "field",
    [
        {"securityContext": {"fsGroup": 1}},
        {"topologySpreadConstraints": []},
        {"tolerations": []},
        {"terminationGracePeriodSeconds": 60},
        {"deploymentStrategy": {"type": "Recreate"}},
        {"automountServiceAccountToken": True},
        {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]},
        {"volumes": [{"name": "share", "nfs": {"server": "s", "path": "/"}}]},
    ],
    ids=lambda field: next(iter(field)),
)
def test_a_field_that_knative_refuses_is_found_in_its_mode_only(field):
    assert only(endpoint("Knative", **field)).path.startswith("spec.predictor.")
    assert found(endpoint("Standard", **field)) == []


@pytest.mark.parametrize(
    ("field", "path"),
    [
        ({"lifecycle": {}}, "lifecycle"),
        ({"ports": [{"name": "http", "containerPort": 8080}]}, "ports.0.name"),
        ({"ports": [{"containerPort": 8080}, {"containerPort": 9000}]}, "ports"),
        ({"env": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]}, "env.NODE.fieldRef"),
    ],
)
def test_a_container_that_knative_refuses_is_found_in_its_mode_only(field, path):
    service = endpoint_container(**field)
    assert found(service) == []
    service["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] = "Knative"
    assert only(service).path == f"spec.predictor.containers.0.{path}"


def with_keys(read_only):
    mount = {"name": "keys", "mountPath": "/keys", **({"readOnly": True} if read_only else {})}
    service = endpoint_container(volumeMounts=[mount])
    service["spec"]["predictor"]["volumes"] = [{"name": "keys", "secret": {"secretName": "llm-api-keys"}}]
    service["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] = "Knative"
    return service


def test_knative_mounts_a_secret_for_reading_only():
    assert "for reading only" in only(with_keys(read_only=False)).what
    assert found(with_keys(read_only=True)) == []


def test_what_a_clusters_feature_flags_allow_can_be_said():
    claim = document("PersistentVolumeClaim", "cache")
    volume = {"name": "home", "persistentVolumeClaim": {"claimName": "cache"}}
    service = endpoint("Knative", volumes=[volume])
    assert "whetstone.dev/knative-features: persistentVolumeClaim" in only(service, claim).remedy
    service["metadata"]["annotations"]["whetstone.dev/knative-features"] = "tolerations, persistentVolumeClaim"
    assert found(service, claim) == []
