"""Every overlay and component: it builds, holds against the real schemas and our own rules, and fits the code."""

import os
import re
from functools import cache

import pytest
import yaml
from llm_endpoint.metrics import Metrics
from llm_endpoint.settings import Settings
from prometheus_client import CollectorRegistry
from support.manifests import MANIFESTS, kustomize
from support.strict_schemas import problems

from components.core.deployment.manifest_check import check_documents
from ui.settings import Settings as PageSettings

DEFAULT_NAMESPACE = "kubeflow-user-example-com"
OVERLAYS = [path.parent for path in sorted(MANIFESTS.glob("*/overlays/*/kustomization.yaml"))]
ADDED = [
    ("standard", ["model-cache"]),
    ("standard", ["stand-in", "model-cache"]),
    ("kubeflow", ["stand-in", "pod-monitor"]),
    ("standard", ["keda", "pod-monitor"]),
    ("standard", ["gpu", "model-cache", "pod-monitor"]),
    ("standard", ["vllm", "pod-monitor"]),
    ("standard", ["knative", "pod-monitor"]),
    ("kubeflow", ["model-cache", "pod-monitor"]),
    ("kubeflow", ["keda", "pod-monitor"]),
    ("vllm", ["model-cache", "pod-monitor"]),
    ("knative", ["pod-monitor"]),
]
"""What a user may add to the endpoint's overlays."""
CASES = [(path.parents[1].name, path.name, []) for path in OVERLAYS] + [("api", *case) for case in ADDED]


def render(folder, part, overlay, components=(), namespace=None, **more):
    """An overlay in a wrapper of its own, as the deploy command and manifests/README.md write it."""
    up = os.path.relpath(MANIFESTS, folder)
    wrapper = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"{up}/{part}/overlays/{overlay}"],
        "components": [f"{up}/components/{name}" for name in components],
        "transformers": [f"{up}/{part}/namespace"],
        "namespace": namespace or DEFAULT_NAMESPACE,
        **more,
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(wrapper))
    return built(folder)


def built(folder):
    documents = kustomize(folder)
    if documents is None:
        pytest.skip("neither kubectl nor kustomize is installed here")
    return documents


@cache
def overlay_of(part, name):
    """An overlay by itself; not to be changed."""
    return built(MANIFESTS / part / "overlays" / name)


def one(documents, kind, name):
    (document,) = (d for d in documents if (d["kind"], d["metadata"]["name"]) == (kind, name))
    return document


def endpoint(documents):
    return one(documents, "InferenceService", "llm-api")["spec"]["predictor"]


def page(documents):
    return one(documents, "Deployment", "llm-ui")["spec"]["template"]["spec"]


def environment(container):
    return {entry["name"]: entry for entry in container["env"]}


@pytest.mark.parametrize(("part", "overlay", "components"), CASES, ids=str)
def test_it_holds_against_the_schemas_and_our_rules_and_lies_wholly_in_its_namespace(
    part, overlay, components, tmp_path
):
    documents = render(tmp_path, part, overlay, components, namespace="team-x")
    assert [f"{document['kind']}: {problem}" for document in documents for problem in problems(document)] == []
    assert [str(finding) for finding in check_documents(documents)] == []
    assert {document["metadata"]["namespace"] for document in documents} == {"team-x"}
    # principals, addresses, paths and queries follow too
    assert DEFAULT_NAMESPACE not in yaml.safe_dump_all(documents)


@pytest.mark.parametrize(("part", "name"), [(path.parents[1].name, path.name) for path in OVERLAYS])
def test_an_overlay_by_itself_is_for_the_default_namespace(part, name):
    documents = overlay_of(part, name)
    assert check_documents(documents) == []
    assert {document["metadata"]["namespace"] for document in documents} == {DEFAULT_NAMESPACE}


def test_an_unknown_field_is_a_problem():
    service = yaml.safe_load((MANIFESTS / "api/base/inference-service.yaml").read_text())
    assert problems(service) == []
    service["spec"]["predictor"]["minReplica"] = 2
    assert "minReplica" in problems(service)[0]
    deployment = yaml.safe_load((MANIFESTS / "ui/base/deployment.yaml").read_text())
    deployment["spec"]["template"]["spec"]["containers"][0]["resource"] = {}
    assert "resource" in problems(deployment)[0]


def test_registry_and_tag_reach_the_endpoint_and_the_page(tmp_path):
    for part in ("api", "ui"):
        image = {"name": f"whetstone-{part}", "newName": f"registry:5000/team/whetstone-{part}", "newTag": "1.2.3"}
        documents = render(tmp_path, part, "kubeflow", images=[image])
        pods = endpoint(documents) if part == "api" else page(documents)
        assert pods["containers"][0]["image"] == f"registry:5000/team/whetstone-{part}:1.2.3"


def test_the_pipelines_parts_follow_the_namespace(tmp_path):
    up = os.path.relpath(MANIFESTS, tmp_path)
    wrapper = {"namespace": "team-x", "resources": [f"{up}/pipeline"], "transformers": [f"{up}/pipeline/namespace"]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(wrapper))
    documents = built(tmp_path)
    assert [problem for document in documents for problem in problems(document)] == []
    assert check_documents(documents) == []
    assert DEFAULT_NAMESPACE not in yaml.safe_dump_all(documents)
    for name in ("whetstone-train-jobs", "whetstone-endpoints"):
        binding = one(documents, "RoleBinding", name)
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "default-editor", "namespace": "team-x"}]
        assert one(documents, "Role", binding["roleRef"]["name"])["rules"]


def test_the_checkpoint_volume_can_be_shared_by_nodes(tmp_path):
    up = os.path.relpath(MANIFESTS, tmp_path)
    wrapper = {"resources": [f"{up}/pipeline"], "components": [f"{up}/components/shared-checkpoints"]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(wrapper))
    claim = one(built(tmp_path), "PersistentVolumeClaim", "whetstone-checkpoints")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_volumes_owner_is_the_group_of_our_images_and_is_set_without_root():
    (job,) = built(MANIFESTS / "checkpoint-owner")
    assert problems(job) == []
    # the claim comes with `pipeline`
    claim = {"PersistentVolumeClaim": ["whetstone-checkpoints"]}
    assert [str(finding) for finding in check_documents([job], claim)] == []
    assert job["spec"]["template"]["spec"]["securityContext"]["fsGroup"] == 10001


def test_a_pod_default_gives_the_token_that_pipelines_accept():
    spec = one(built(MANIFESTS / "pipeline"), "PodDefault", "access-ml-pipeline")["spec"]
    token = spec["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]
    assert spec["selector"] == {"matchLabels": {"access-ml-pipeline": "true"}}
    assert token["audience"] == "pipelines.kubeflow.org"
    mounted = f"{spec['volumeMounts'][0]['mountPath']}/{token['path']}"
    assert mounted == spec["env"][0]["value"] == "/var/run/secrets/kubeflow/pipelines/token"


def names_in_settings(settings):
    """Every environment variable that a settings class reads."""
    found = set()
    for name, field in settings.model_fields.items():
        alias = field.validation_alias
        found |= {choice for choice in alias.choices} if alias else {name.upper()}
    return found


def test_every_variable_of_the_containers_is_one_that_the_code_reads():
    of_libraries = {"HF_HOME", "NAMESPACE", "WHETSTONE_HOME"}
    for overlay in ("standard", "gpu", "vllm", "knative"):
        container = endpoint(overlay_of("api", overlay))["containers"][0]
        assert set(environment(container)) - names_in_settings(Settings) <= of_libraries
    container = page(overlay_of("ui", "kubeflow"))["containers"][0]
    assert set(environment(container)) - names_in_settings(PageSettings) <= of_libraries


def test_the_endpoint_reads_model_secrets_and_keys_from_their_agreed_places():
    predictor = endpoint(overlay_of("api", "kubeflow"))
    container = predictor["containers"][0]
    variables = environment(container)
    assert variables["MODEL"]["valueFrom"]["configMapKeyRef"] == {"name": "llm-api", "key": "model_name"}
    for name in ("HF_TOKEN", "LANGCHAIN_TRACING_V2", "LANGCHAIN_ENDPOINT", "LANGCHAIN_API_KEY", "LANGCHAIN_PROJECT"):
        assert variables[name]["valueFrom"]["secretKeyRef"] == {
            "name": "llm-api-secret",
            "key": name.lower(),
            "optional": True,
        }
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in predictor["volumes"]}
    keys = volumes[mounts[variables["API_KEYS_DIR"]["value"]]]
    assert keys["secret"]["secretName"] == "llm-api-keys"
    assert not keys["secret"].get("optional"), "without keys the endpoint would be open"
    # the root is read-only: what is written lies on volumes
    assert {"/tmp", variables["WHETSTONE_HOME"]["value"]} <= set(mounts)
    assert variables["HF_HOME"]["value"].startswith(variables["WHETSTONE_HOME"]["value"])


def test_the_grace_of_the_pods_is_longer_than_the_shutdown_of_the_code():
    settings = Settings.model_fields
    needed = settings["shutdown_seconds"].default + settings["flush_seconds"].default
    assert endpoint(overlay_of("api", "kubeflow"))["terminationGracePeriodSeconds"] > needed
    knative = endpoint(overlay_of("api", "knative"))
    assert needed < settings["request_timeout_seconds"].default < knative["timeout"]


def test_the_page_is_a_load_balancer_without_a_mesh_and_behind_the_gateway_with_one():
    standard, mesh = overlay_of("ui", "standard"), overlay_of("ui", "kubeflow")
    service = one(standard, "Service", "llm-ui")["spec"]
    port = service["ports"][0]
    assert (service["type"], port["port"], port["targetPort"]) == ("LoadBalancer", 80, 8501)
    assert one(mesh, "Service", "llm-ui")["spec"]["type"] == "ClusterIP"
    assert one(mesh, "VirtualService", "llm-ui")["spec"]["gateways"] == ["kubeflow/kubeflow-gateway"]


# in a mesh identity decides who may ask: the policies let everybody connect who could have one
MESH = {"own namespace:8080", "istio-system:8080"}
QUEUE_PROXY = {f"{name}:{port}" for name in ("istio-system", "knative-serving") for port in (8012, 8112, 9090)}


def callers(documents, name):
    """Who may connect to the pods of an InferenceService: `label or namespace:port`."""
    found = set()
    for policy in (d["spec"] for d in documents if d["kind"] == "NetworkPolicy"):
        if policy["podSelector"]["matchLabels"].get("serving.kserve.io/inferenceservice") != name:
            continue
        for rule in policy.get("ingress", []):
            for peer in rule["from"]:
                (selector,) = peer.values()
                peer_name = next(iter(selector.get("matchLabels", {}).values()), "own namespace")
                found |= {f"{peer_name}:{port['port']}" for port in rule["ports"]}
    return found


@pytest.mark.parametrize(
    ("overlay", "components", "allowed"),
    [
        ("standard", [], {"llm-ui:8080"}),
        ("standard", ["pod-monitor"], {"llm-ui:8080", "monitoring:8080", "monitoring:15020"}),
        ("kubeflow", [], {"llm-ui:8080"} | MESH),
        ("knative", [], {"llm-ui:8080"} | MESH | QUEUE_PROXY),
    ],
)
def test_only_the_page_and_what_an_overlay_needs_may_connect_to_the_endpoint(overlay, components, allowed, tmp_path):
    assert callers(render(tmp_path, "api", overlay, components), "llm-api") == allowed


def test_only_the_chain_may_connect_to_vllm_and_asks_it_by_the_name_that_kserve_gives():
    documents = overlay_of("api", "vllm")
    assert callers(documents, "llm-vllm") == {"llm-api:8080"}
    variables = environment(endpoint(documents)["containers"][0])
    assert variables["OPENAI_MODEL"]["value"] == "llm-vllm"
    assert variables["OPENAI_BASE_URL"]["value"] == (
        "http://llm-vllm-predictor.$(NAMESPACE).svc.cluster.local/openai/v1"
    )
    # Kubernetes fills in only what stands above
    names = list(variables)
    assert names.index("NAMESPACE") < names.index("OPENAI_BASE_URL")


def test_a_gpu_pod_has_all_that_a_gpu_pod_needs():
    predictor = endpoint(overlay_of("api", "gpu"))
    container = predictor["containers"][0]
    assert container["image"].endswith("-cuda")
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert predictor["tolerations"][0]["key"] == "nvidia.com/gpu"
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    (memory,) = [volume for volume in predictor["volumes"] if volume["name"] == mounts["/dev/shm"]]
    assert memory["emptyDir"] == {"medium": "Memory", "sizeLimit": "5Gi"}


def test_a_type_of_gpu_is_chosen_as_the_readme_says(tmp_path):
    (patch,) = re.findall(r"```yaml\n(patches:.*?nvidia\.com/gpu\.product.*?)```", readme(), re.DOTALL)
    documents = render(tmp_path, "api", "gpu", **yaml.safe_load(patch))
    assert endpoint(documents)["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}
    assert check_documents(documents) == []


def test_the_wrapper_in_the_readme_builds(tmp_path):
    (text,) = re.findall(r"```yaml\n(apiVersion: kustomize.*?)```", readme(), re.DOTALL)
    text = text.replace("../../../manifests", os.path.relpath(MANIFESTS, tmp_path))
    (tmp_path / "kustomization.yaml").write_text(text)
    documents = built(tmp_path)
    assert endpoint(documents)["containers"][0]["image"] == "registry.example/team/whetstone-api:0.1.0"
    assert DEFAULT_NAMESPACE not in yaml.safe_dump_all(documents)


def readme():
    return (MANIFESTS / "README.md").read_text(encoding="utf-8")


def test_alerts_and_scaling_ask_for_metrics_that_the_endpoint_has(tmp_path):
    registry = CollectorRegistry()
    Metrics(registry)
    offered = {sample for metric in registry.collect() for sample in _samples(metric)}
    documents = render(tmp_path, "api", "standard", ["keda", "pod-monitor"])
    rules = one(documents, "PrometheusRule", "llm-api")["spec"]["groups"][0]["rules"]
    asked = {name for rule in rules for name in re.findall(r"\bllm_\w+", rule["expr"])}
    assert asked
    assert asked <= offered
    (metric,) = endpoint(documents)["autoScaling"]["metrics"]
    query = metric["external"]["metric"]["query"]
    (pattern,) = re.findall(r'__name__=~"([^"]+)"', query)
    assert {name for name in offered if re.fullmatch(pattern, name)} == {"llm_requests_running", "llm_requests_waiting"}
    assert query.startswith(f'sum({{namespace="{DEFAULT_NAMESPACE}"')


def _samples(metric):
    """Names of the series that a metric has once it is used."""
    return {
        "counter": [f"{metric.name}_total"],
        "histogram": [f"{metric.name}_bucket", f"{metric.name}_count", f"{metric.name}_sum"],
    }.get(metric.type, [metric.name])
