"""What the doctor says of healthy and ill clusters; the Hub has tests of its own."""

import base64

import pytest
from support.recorded_clusters import (
    A100,
    NAMESPACE,
    PLANTED,
    T4,
    RecordedCluster,
    changed,
    cpu_node,
    crd,
    deployment,
    document,
    gpu_node,
    gpu_pod,
    healthy,
    kserve_config,
    replaced,
    secret,
    without,
)

from components.core.deployment.doctor import Subject, as_json, examine_cluster, show, summarize
from components.core.deployment.doctor.finding import image_version, release
from components.core.deployment.kubernetes_api import ClusterError
from components.core.recipe import Recipe
from components.core.settings import Settings

UNREACHABLE = "http://127.0.0.1:9"


def examine(objects, denied=(), gpu_bytes=None, overlay="kubeflow", **sections):
    subject = Subject(
        RecordedCluster(objects, frozenset(denied)), NAMESPACE, Recipe.model_validate(sections),
        Settings(hf_endpoint=UNREACHABLE, hf_token=None, hf_repo=None), overlay, gpu_bytes=gpu_bytes,
    )  # fmt: skip
    return [finding for finding in examine_cluster(subject) if finding.title != "Hub"]


def ills(findings):
    return [(finding.status, finding.title) for finding in findings if finding.status != "ok"]


def test_a_healthy_cluster_is_all_ok():
    findings = examine(healthy(), gpu_bytes=lambda recipe, settings: 16 * 2**30)
    assert ills(findings) == []
    assert len(findings) > 20


def test_a_healthy_cluster_takes_several_nodes():
    assert ills(examine(healthy(), gpu={"num_nodes": 2, "count": 4})) == []


@pytest.mark.parametrize(
    ("objects", "expected", "words"),
    [
        (without(healthy(), "inferenceservices.serving.kserve.io"), ("error", "KServe"), "not installed"),
        (
            replaced(
                healthy(), deployment("kserve-controller-manager", "kubeflow", "kserve/kserve-controller:v0.15.2")
            ),
            ("error", "KServe"),
            "v0.15.2 refuses deploymentMode Standard (there it is RawDeployment)",
        ),
        (without(healthy(), "kserve-controller-manager"), ("warning", "KServe"), "version unknown"),
        (replaced(healthy(), crd("InferenceService", "v1alpha2")), ("error", "KServe"), "v1alpha2 only"),
        (replaced(healthy(), kserve_config("Serverless")), ("warning", "KServe default mode"), "does not translate"),
        (without(healthy(), "authorizationpolicies.security.istio.io"), ("error", "Istio"), "not installed"),
        (replaced(healthy(), crd("AuthorizationPolicy", "v1beta1")), ("error", "Istio"), "v1beta1 only"),
        (without(healthy(), "ml-pipeline"), ("error", "Kubeflow Pipelines"), "no deployment ml-pipeline"),
        (without(healthy(), NAMESPACE), ("error", "Namespace"), f"{NAMESPACE} does not exist"),
        (
            replaced(healthy(), document("Namespace", NAMESPACE, metadata={"labels": {"istio-injection": "enabled"}})),
            ("warning", "Namespace"),
            "not the namespace of a Kubeflow profile",
        ),
        (without(healthy(), "gpu-1", "gpu-2"), ("error", "GPUs"), "no usable node offers nvidia.com/gpu"),
        (without(healthy(), "whetstone-checkpoints"), ("error", "Checkpoint volume"), "no PersistentVolumeClaim"),
        (without(healthy(), "standard"), ("warning", "Storage classes"), "none of shared is the default"),
        (
            without(healthy(), "standard", "whetstone-checkpoints"),
            ("error", "Storage classes"),
            "none of shared is the default",
        ),
        (without(healthy(), "huggingface-secret"), ("error", "Secret huggingface-secret"), "is missing"),
        (without(healthy(), "llm-api-keys"), ("warning", "Secret llm-api-keys"), "is missing"),
        (replaced(healthy(), secret("llm-api-keys", "primary")), ("error", "Secret llm-api-keys"), "lacks secondary"),
        (
            replaced(healthy(), secret("huggingface-secret", "token", "repo", value="")),
            ("error", "Secret huggingface-secret"),
            "lacks repo, token",
        ),
        (without(healthy(), "access-ml-pipeline"), ("warning", "PodDefault access-ml-pipeline"), "is missing"),
    ],
)
def test_an_ill_cluster_is_told_by_name_with_a_remedy(objects, expected, words):
    found = [finding for finding in examine(objects) if (finding.status, finding.title) == expected]
    assert found, ills(examine(objects))
    assert words in found[0].detail
    assert found[0].remedy


@pytest.mark.parametrize(
    ("mode", "version", "overlay", "expected"),
    [
        ("Standard", "v0.16.0", "kubeflow", "ok"),
        ("Knative", "v0.16.0", "kubeflow", "error"),
        ("Knative", "v0.16.0", "knative", "ok"),
        ("RawDeployment", "v0.16.0", "kubeflow", "error"),
        ("RawDeployment", "v0.17.0", "kubeflow", "ok"),
    ],
)
def test_the_mode_of_a_live_service_is_held_against_the_overlay(mode, version, overlay, expected):
    notes = {"serving.kserve.io/deploymentMode": mode}
    live = document("InferenceService", "llm-api", NAMESPACE, metadata={"annotations": notes})
    controller = deployment("kserve-controller-manager", "kubeflow", f"kserve/kserve-controller:{version}")
    findings = examine(replaced(healthy(), live, controller), overlay=overlay)
    assert [finding.status for finding in findings if finding.title == "InferenceService llm-api"] == [expected]


def test_a_secret_of_a_live_endpoint_must_be_there():
    live = document("InferenceService", "llm-api", NAMESPACE)
    findings = examine([*without(healthy(), "llm-api-secret"), live])
    assert ("error", "Secret llm-api-secret") in ills(findings)


def test_without_a_mesh_istio_is_only_missed():
    objects = without(healthy(), "authorizationpolicies.security.istio.io", NAMESPACE)
    plain = document("Namespace", NAMESPACE, metadata={"annotations": {"owner": "user@example.com"}})
    assert ills(examine([*objects, plain], overlay="standard")) == [("warning", "Istio")]


def test_several_nodes_need_trainer_and_a_shared_volume():
    objects = without(healthy(), "trainjobs.trainer.kubeflow.org", "shared")
    volume = document(
        "PersistentVolumeClaim", "whetstone-checkpoints", NAMESPACE,
        spec={"accessModes": ["ReadWriteOnce"]}, status={"phase": "Pending"},
    )  # fmt: skip
    objects = replaced(objects, volume)
    assert ills(examine(objects)) == []
    assert ills(examine(objects, gpu={"num_nodes": 2})) == [
        ("error", "Kubeflow Trainer"), ("warning", "Shared volumes"), ("error", "Checkpoint volume"),
    ]  # fmt: skip


def test_several_nodes_need_the_training_runtime():
    findings = examine(without(healthy(), "torch-distributed"), gpu={"num_nodes": 2})
    assert [f.detail for f in findings if f.status == "error"] == ["no ClusterTrainingRuntime torch-distributed"]


def test_a_quota_that_is_too_small_is_an_error_and_a_used_up_one_a_warning():
    assert ("error", "Quota kf-resource-quota") in ills(examine(healthy(), gpu={"count": 8, "num_nodes": 2}))
    used = changed(
        healthy(), "kf-resource-quota", lambda quota: quota["status"]["used"].update({"requests.nvidia.com/gpu": "8"})
    )
    assert ills(examine(used)) == [("warning", "Quota kf-resource-quota")]


def test_a_limit_range_below_the_pod_is_an_error():
    limits = document(
        "LimitRange", "small", NAMESPACE, spec={"limits": [{"type": "Container", "max": {"memory": "4Gi"}}]}
    )
    found = [finding for finding in examine([*healthy(), limits]) if finding.status == "error"]
    assert [finding.detail for finding in found] == ["memory: 8Gi needed, at most 4Gi for a container"]


def test_a_gpu_that_is_not_there_is_named_beside_those_that_are():
    (found,) = [finding for finding in examine(healthy(), gpu={"product": "NVIDIA-H200"}) if finding.status == "error"]
    assert found.detail == f"no usable node has the GPU NVIDIA-H200; there are: {A100}"


def test_taken_gpus_are_a_warning():
    busy = [gpu_pod("b1", "gpu-1", 5), gpu_pod("b2", "gpu-2", 8)]
    assert ills(examine([*healthy(), *busy])) == [("warning", "GPUs free")]


def test_gpus_that_are_too_small_are_an_error_and_some_a_warning():
    small = without(healthy(), "gpu-1", "gpu-2")
    need = {"gpu_bytes": lambda recipe, settings: 20 * 2**30}
    assert ills(examine([*small, gpu_node("t4", T4, 4)], **need)) == [("error", "GPU memory")]
    assert ills(examine([*healthy(), gpu_node("t4", T4, 4)], **need)) == [("warning", "GPU memory")]


def test_closed_nodes_are_left_out_and_said():
    objects = replaced(healthy(), gpu_node("gpu-2", unschedulable=True))
    assert ills(examine(objects)) == [("warning", "GPU nodes left out")]


def test_missing_rights_are_named_by_command():
    findings = examine(healthy(), denied={("patch", "Secret"), ("list", "Node"), ("get", "Deployment")})
    told = {finding.title: finding for finding in findings if finding.status != "ok"}
    assert told["Rights: create-secret"].detail == "you may not: patch secrets"
    assert "Rights: ui-deploy" not in told  # the page has no secret of its own
    assert told["Rights: nodes"].status == "warning"
    assert (told["GPUs"].status, "403" in told["GPUs"].detail) == ("warning", True)
    assert told["Kubeflow Pipelines"].status == "warning"


def test_a_check_that_may_not_look_hides_no_other():
    kinds = {"Secret", "ResourceQuota", "StorageClass", "CustomResourceDefinition", "Namespace", "PodDefault", "Pod"}
    findings = examine(healthy(), denied={(verb, kind) for kind in kinds for verb in ("get", "list")})
    assert not [finding for finding in findings if finding.status == "error" and "Rights" not in finding.title]
    assert {"KServe", "Storage", "Quota", "Secrets"} <= {f.title for f in findings if f.status == "warning"}
    assert any(finding.title == "GPUs" and "cannot be seen" in finding.detail for finding in findings)


def test_odd_answers_do_not_end_the_examination():
    odd = [document(kind, name, NAMESPACE) for kind, name in [
        ("ResourceQuota", "q"), ("LimitRange", "l"), ("Secret", "huggingface-secret"), ("StorageClass", "s"),
        ("PersistentVolumeClaim", "whetstone-checkpoints"), ("Pod", "p"),
    ]]  # fmt: skip
    odd += [document("CustomResourceDefinition", f"{p}") for p in ("inferenceservices.serving.kserve.io",)]
    odd += [document("Node", "bare"), document("Namespace", NAMESPACE, metadata={"labels": None})]
    odd += [document("ConfigMap", "inferenceservice-config", "kubeflow", data={"deploy": "not json"})]
    odd += [document("Deployment", "ml-pipeline", "kubeflow", spec={"template": {"spec": {"containers": ["odd"]}}})]
    findings = examine(odd)
    assert ("warning", "Kubeflow Pipelines") in ills(findings)
    assert findings[-1].title == "PodDefault access-ml-pipeline"


def test_another_failure_is_an_error_of_its_check_only():
    class Failing(RecordedCluster):
        def get(self, kind, name, namespace=None):
            if kind == "Secret":
                raise ClusterError("the cluster answered 500 to GET secrets", 500)
            return super().get(kind, name, namespace)

    subject = Subject(Failing(healthy()), NAMESPACE, Recipe(), Settings(hf_endpoint=UNREACHABLE))
    told = ills(examine_cluster(subject))
    assert ("error", "Secrets") in told
    assert len([status for status, _ in told if status == "error"]) == 1


def test_no_value_of_a_secret_is_told():
    findings = examine(healthy())
    text = as_json(findings, "https://c", NAMESPACE) + "".join(show(finding, False) for finding in findings)
    for planted in (PLANTED, base64.b64encode(PLANTED.encode()).decode()):
        assert planted not in text


def test_lines_are_aligned_and_coloured_only_if_asked():
    findings = examine([cpu_node("only")])
    lines = [show(finding, colour=False) for finding in findings]
    assert {line.splitlines()[0][:9] for line in lines} <= {"ok       ", "warning  ", "error    "}
    assert "\033" not in "".join(lines)
    assert show(findings[0], colour=True).startswith("\033[32mok")
    assert summarize(findings).endswith(f"{sum(f.status == 'error' for f in findings)} errors")


@pytest.mark.parametrize(
    ("image", "version", "numbers"),
    [
        ("kserve/kserve-controller:v0.16.0", "v0.16.0", (0, 16)),
        ("registry:5000/kserve/controller", "", None),
        ("registry:5000/istio/pilot:1.29.1@sha256:abc", "1.29.1", (1, 29)),
        ("kserve/kserve-controller:latest", "latest", None),
    ],
)
def test_versions_are_read_from_images(image, version, numbers):
    found = image_version(deployment("d", "n", image))
    assert (found, release(found)) == (version, numbers)
