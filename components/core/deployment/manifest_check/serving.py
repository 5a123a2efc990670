"""What an InferenceService says and KServe does not question."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from components.core.deployment.manifest_check.finding import Document, Finding, label_of
from components.core.deployment.manifest_check.workloads import (
    CUSTOM_CONTAINER,
    FRAMEWORKS,
    MODE_ANNOTATION,
    Workload,
    deployment_mode,
    workloads,
)

MODES = ("Standard", "Knative")
_OLD_MODES = {"RawDeployment": "Standard", "Serverless": "Knative"}
_SCHEMES = ("hf", "s3", "gs", "pvc", "oci", "http", "https", "hdfs", "webhdfs")
_STANDARD_METRICS = ("cpu", "memory")
_REPLICA_FIELDS = {
    "HorizontalPodAutoscaler": ("minReplicas", "maxReplicas"),
    "ScaledObject": ("minReplicaCount", "maxReplicaCount"),
}


def check_modes(documents: Sequence[Document]) -> Iterator[Finding]:
    """The deployment mode is named, and by a name that KServe 0.16 and newer know."""
    for document in documents:
        if document.get("kind") != "InferenceService" or deployment_mode(document) in MODES:
            continue
        mode = deployment_mode(document)
        if mode is None:
            what = "no deployment mode, so the cluster's default decides, which ships as an old name"
        elif mode in _OLD_MODES:
            what = (
                f"{mode} is the name of KServe up to 0.15; 0.16 does not translate it and then blocks patch and delete"
            )
        else:
            what = f"{mode} is no deployment mode; KServe takes it for Knative and fails later with another message"
        wanted = _OLD_MODES.get(mode or "", "Standard")
        path = f"metadata.annotations.{MODE_ANNOTATION}"
        yield Finding(label_of(document), path, what, f"Write {wanted}.")


def check_predictors(documents: Sequence[Document]) -> Iterator[Finding]:
    """A predictor has exactly one implementation."""
    for workload in workloads(documents):
        if workload.path != "spec.predictor":
            continue
        found = [field for field in FRAMEWORKS if field in workload.pod]
        containers = workload.pod.get("containers") or []
        # other containers beside a framework are sidecars
        if containers and (not found or any(c.get("name") == CUSTOM_CONTAINER for c in containers)):
            found.append("containers")
        if len(found) != 1:
            what = f"{len(found)} implementations{': ' + ', '.join(found) if found else ''}; KServe picks one silently"
            yield Finding(workload.label, workload.path, what, "Keep exactly one.")


def check_storage(documents: Sequence[Document]) -> Iterator[Finding]:
    """Models lie where KServe's storage initializer can fetch them."""
    for workload in workloads(documents):
        for path, uri in _storage_uris(workload):
            scheme, separator, rest = str(uri).partition("://")
            if not separator or scheme not in _SCHEMES or not rest:
                known = ", ".join(f"{name}://" for name in _SCHEMES)
                what = f"{uri} is nothing that KServe can fetch; the pod would fail at its start"
                yield Finding(workload.label, path, what, f"Use one of {known}.")


def _storage_uris(workload: Workload) -> Iterator[tuple[str, Any]]:
    for number, entry in enumerate(workload.pod.get("storageUris") or []):
        yield f"{workload.path}.storageUris.{number}.uri", entry.get("uri")
    for container in workload.containers():
        if "storageUri" in container.spec:
            yield f"{container.path}.storageUri", container.spec["storageUri"]
        for entry in container.spec.get("env") or []:
            if entry.get("name") == "STORAGE_URI" and "value" in entry:
                yield f"{container.path}.env.STORAGE_URI", entry["value"]


def check_scaling(documents: Sequence[Document]) -> Iterator[Finding]:
    """The scaling metric exists in the mode, and the smallest number of replicas is not above the largest."""
    for workload in workloads(documents):
        if workload.document["kind"] != "InferenceService":
            continue
        metric = workload.pod.get("scaleMetric")
        path = f"{workload.path}.scaleMetric"
        if metric and not workload.knative and metric not in _STANDARD_METRICS:
            what = f"{metric} silently becomes CPU use in Standard mode"
            yield Finding(workload.label, path, what, "Use cpu or memory, the keda component, or Knative mode.")
        yield from _check_replicas(workload.document, workload.path, workload.pod, "minReplicas", "maxReplicas")
    for document in documents:
        if document.get("kind") in _REPLICA_FIELDS:
            yield from _check_replicas(document, "spec", document["spec"], *_REPLICA_FIELDS[document["kind"]])


def _check_replicas(document: Document, path: str, spec: Mapping[str, Any], least: str, most: str) -> Iterator[Finding]:
    low, high = spec.get(least, 1), spec.get(most)
    if high and low > high:  # 0 or none: no limit
        yield Finding(
            label_of(document), f"{path}.{least}", f"{low} is more than {most} ({high})", "Raise or lower one."
        )
