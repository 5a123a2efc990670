"""Clusters as data: the objects of a Kubeflow 26.03 cluster with GPUs, and what is taken away to make it ill.

Recorded from documented shapes: the node labels of NVIDIA's GPU feature discovery, the images and names of the Kubeflow
26.03 and KServe 0.16 manifests, the fields of Kubernetes 1.33. No real cluster was dumped.
"""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from support.kube_state import KubeServer

from components.core.deployment.kinds import KINDS

Object = dict[str, Any]
NAMESPACE = "kubeflow-user-example-com"
PLANTED = "hf_planted0token0that0nobody0may0see"
"""Stands in every secret of a healthy cluster."""
A100, T4, A10G = "NVIDIA-A100-SXM4-80GB", "Tesla-T4", "NVIDIA-A10G"
_GPUS = {A100: (81920, 8), T4: (15360, 7), A10G: (23028, 8)}
"""Product label to memory in MiB and major compute capability."""


def document(kind: str, name: str, namespace: str = "", **fields: Any) -> Object:
    """An object of a kind that is known to the product."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **fields.pop("metadata", {})}
    return {"apiVersion": KINDS[kind].api_version, "kind": kind, "metadata": metadata, **fields}


def gpu_node(name: str, product: str = A100, count: int = 8, **spec: Any) -> Object:
    """A node with GPUs, ready, with the taint that keeps other pods off it."""
    memory, major = _GPUS[product]
    labels = {
        "kubernetes.io/hostname": name,
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.product": product,
        "nvidia.com/gpu.memory": str(memory),
        "nvidia.com/gpu.count": str(count),
        "nvidia.com/gpu.compute.major": str(major),
    }
    taints = [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]
    resources = {"cpu": "95", "memory": "1056241288Ki", "pods": "250", "nvidia.com/gpu": str(count)}
    return document(
        "Node", name, metadata={"labels": labels}, spec={"taints": taints, **spec},
        status={"allocatable": resources, "capacity": resources, "conditions": [{"type": "Ready", "status": "True"}]},
    )  # fmt: skip


def cpu_node(name: str) -> Object:
    """A node without GPUs."""
    resources = {"cpu": "7910m", "memory": "30503816Ki", "pods": "110"}
    ready = [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}]
    return document("Node", name, spec={}, status={"allocatable": resources, "conditions": ready})


def gpu_pod(name: str, node: str, gpus: int, phase: str = "Running", namespace: str = "team-b") -> Object:
    """A pod that asks for GPUs."""
    resources = {"limits": {"nvidia.com/gpu": str(gpus)}, "requests": {"nvidia.com/gpu": str(gpus)}}
    spec = {"nodeName": node, "containers": [{"name": "main", "image": "train", "resources": resources}]}
    return document("Pod", name, namespace, spec=spec, status={"phase": phase})


def crd(kind: str, *versions: str) -> Object:
    """A custom resource definition that serves these versions."""
    served = [{"name": version, "served": True, "storage": version == versions[-1]} for version in versions]
    spec = {"group": KINDS[kind].group, "names": {"kind": kind, "plural": KINDS[kind].plural}, "versions": served}
    return document("CustomResourceDefinition", KINDS[kind].resource, spec=spec)


def deployment(name: str, namespace: str, image: str) -> Object:
    """A deployment of one container."""
    pod = {"spec": {"containers": [{"name": "manager", "image": image}]}}
    return document("Deployment", name, namespace, spec={"replicas": 1, "template": pod})


def secret(name: str, *keys: str, value: str = PLANTED) -> Object:
    """A secret whose keys all hold the same."""
    data = {key: base64.b64encode(value.encode()).decode() for key in keys}
    return document("Secret", name, NAMESPACE, type="Opaque", data=data)


def kserve_config(mode: str) -> Object:
    """KServe's ConfigMap with its default mode."""
    deploy = json.dumps({"defaultDeploymentMode": mode})
    return document("ConfigMap", "inferenceservice-config", "kubeflow", data={"deploy": deploy})


def healthy() -> list[Object]:
    """A Kubeflow cluster that has everything: two nodes of eight A100, three of which are taken, and one of CPUs."""
    hub = secret("huggingface-secret", "token")
    hub["data"]["repo"] = base64.b64encode(b"acme/tuned").decode()
    return [
        document(
            "Namespace", NAMESPACE,
            metadata={
                "labels": {"app.kubernetes.io/part-of": "kubeflow-profile", "istio-injection": "enabled"},
                "annotations": {"owner": "user@example.com"},
            },
        ),
        cpu_node("cpu-1"), gpu_node("gpu-1"), gpu_node("gpu-2"),
        gpu_pod("busy", "gpu-1", 3), gpu_pod("done", "gpu-1", 8, "Succeeded"),
        crd("InferenceService", "v1beta1"), crd("AuthorizationPolicy", "v1beta1", "v1"),
        crd("TrainJob", "v1alpha1"), crd("ClusterTrainingRuntime", "v1alpha1"),
        crd("ScaledObject", "v1alpha1"), crd("PodMonitor", "v1"), crd("PodDefault", "v1alpha1"),
        deployment("kserve-controller-manager", "kubeflow", "kserve/kserve-controller:v0.16.0"),
        deployment("istiod", "istio-system", "gcr.io/istio-release/pilot:1.29.1"),
        deployment("ml-pipeline", "kubeflow", "ghcr.io/kubeflow/kfp-api-server:2.16.0"),
        deployment("kubeflow-trainer-controller-manager", "kubeflow-system", "ghcr.io/kubeflow/trainer/manager:v2.1.0"),
        kserve_config("Standard"),
        document("ClusterTrainingRuntime", "torch-distributed", spec={"mlPolicy": {"numNodes": 1}}),
        document(
            "StorageClass", "standard", provisioner="ebs.csi.aws.com",
            metadata={"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        ),
        document("StorageClass", "shared", provisioner="efs.csi.aws.com"),
        document(
            "PersistentVolumeClaim", "whetstone-checkpoints", NAMESPACE,
            spec={"accessModes": ["ReadWriteMany"], "storageClassName": "shared"}, status={"phase": "Bound"},
        ),
        document(
            "ResourceQuota", "kf-resource-quota", NAMESPACE,
            spec={"hard": {"requests.nvidia.com/gpu": "8", "requests.memory": "512Gi", "pods": "100"}},
            status={
                "hard": {"requests.nvidia.com/gpu": "8", "requests.memory": "512Gi", "pods": "100"},
                "used": {"requests.nvidia.com/gpu": "0", "requests.memory": "6Gi", "pods": "7"},
            },
        ),
        hub,
        secret(
            "llm-api-secret", "hf_token", "langchain_tracing_v2", "langchain_endpoint", "langchain_api_key",
            "langchain_project",
        ),
        secret("llm-api-keys", "primary", "secondary"),
        document("PodDefault", "access-ml-pipeline", NAMESPACE, spec={}),
    ]  # fmt: skip


def without(objects: list[Object], *names: str) -> list[Object]:
    """A cluster that lacks the objects of these names."""
    return [one for one in objects if one["metadata"]["name"] not in names]


def replaced(objects: list[Object], *others: Object) -> list[Object]:
    """A cluster with other objects in the place of those with the same kind and name."""
    keys = {(other["kind"], other["metadata"]["name"]) for other in others}
    return [one for one in objects if (one["kind"], one["metadata"]["name"]) not in keys] + list(others)


def changed(objects: list[Object], name: str, change: Callable[[Object], Any]) -> list[Object]:
    """A cluster in which the objects of a name are changed in place."""
    for one in objects:
        if one["metadata"]["name"] == name:
            change(one)
    return objects


def fill(state: KubeServer, objects: list[Object]) -> None:
    """Put a cluster's objects into a stand-in API server."""
    for one in objects:
        state.add(one)


class RecordedCluster:
    """Answers like `Cluster`, from objects; for the checks as functions, without HTTP."""

    address = "https://recorded.example:6443"

    def __init__(self, objects: list[Object], denied: frozenset[tuple[str, str]] = frozenset()) -> None:
        self.objects, self.denied = objects, denied

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """One object."""
        return next((one for one in self.list(kind, namespace, verb="get") if one["metadata"]["name"] == name), None)

    def get_path(self, path: str) -> Mapping[str, Any]:
        """The version."""
        return {"gitVersion": "v1.33.4"}

    def list(self, kind: str, namespace: str | None = None, verb: str = "list") -> list[Object]:
        """Objects of a kind."""
        from components.core.deployment.kubernetes_api import ClusterError

        if (verb, kind) in self.denied:
            raise ClusterError(f"the cluster refuses GET {kind} (403): you lack that right.", 403)
        found = [one for one in self.objects if one["kind"] == kind]
        return [one for one in found if namespace in (None, one["metadata"].get("namespace"))]

    def may(self, verb: str, kind: Any, namespace: str | None = None, subresource: str = "") -> bool:
        """Whether a right is not denied."""
        name = next(name for name, known in KINDS.items() if known == kind)
        return (verb, name) not in self.denied
