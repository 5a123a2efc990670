"""Fields that Knative's webhook refuses, long after the InferenceService was taken."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from components.core.deployment.manifest_check.finding import Document, Finding
from components.core.deployment.manifest_check.workloads import Container, Workload, workloads

FEATURES_ANNOTATION = "whetstone.dev/knative-features"
"""On the InferenceService: fields, separated by commas, that this cluster's Knative takes by its feature flags."""
_POD_FIELDS = {
    "affinity": "affinity",
    "dnsConfig": "dnsconfig",
    "dnsPolicy": "dnspolicy",
    "hostAliases": "hostaliases",
    "hostIPC": "hostipc",
    "hostNetwork": "hostnetwork",
    "hostPID": "hostpid",
    "initContainers": "init-containers",
    "nodeSelector": "nodeselector",
    "priorityClassName": "priorityclassname",
    "runtimeClassName": "runtimeclassname",
    "schedulerName": "schedulername",
    "securityContext": "securitycontext",
    "shareProcessNamespace": "shareprocessnamespace",
    "tolerations": "tolerations",
    "topologySpreadConstraints": "topologyspreadconstraints",
}
"""Fields that a feature flag allows; all are off as shipped."""
_NEVER = (
    "activeDeadlineSeconds", "deploymentStrategy", "hostname", "nodeName", "priority", "readinessGates",
    "restartPolicy", "subdomain", "terminationGracePeriodSeconds",
)  # fmt: skip
_CONTAINER_NEVER = ("lifecycle", "stdin", "stdinOnce", "tty", "volumeDevices")
_VOLUME_FLAGS = {
    "persistentVolumeClaim": "persistent-volume-claim (and -persistent-volume-write)",
    "hostPath": "volumes-hostpath",
    "csi": "volumes-csi",
    "ephemeral": "volumes-ephemeral",
    "image": "volumes-image",
}
_VOLUMES = {"secret", "configMap", "projected", "emptyDir", *_VOLUME_FLAGS}
_PORT_NAMES = ("", "h2c", "http1")
_METRICS = ("concurrency", "rps")


def check_knative(documents: Sequence[Document]) -> Iterator[Finding]:
    """Every workload in Knative mode against what Knative takes with the feature flags as shipped."""
    for workload in workloads(documents):
        if workload.knative:
            yield from _check_pod(workload)
            yield from _check_volumes(workload)
            for container in workload.containers():
                yield from _check_container(workload, container)


def _check_pod(workload: Workload) -> Iterator[Finding]:
    for field, flag in _POD_FIELDS.items():
        if field in workload.pod:
            yield from _refused(workload, f"{workload.path}.{field}", flag)
    for field in _NEVER:
        if field in workload.pod:
            yield from _refused(workload, f"{workload.path}.{field}")
    if workload.pod.get("automountServiceAccountToken"):
        yield from _refused(workload, f"{workload.path}.automountServiceAccountToken")
    metric = workload.pod.get("scaleMetric")
    if metric and metric not in _METRICS:
        path, what = f"{workload.path}.scaleMetric", f"{metric} is no metric of Knative's autoscaler"
        yield Finding(workload.label, path, what, "Use concurrency or rps.")


def _check_volumes(workload: Workload) -> Iterator[Finding]:
    for number, volume in enumerate(workload.pod.get("volumes") or []):
        for source in set(volume) - {"name"}:
            path = f"{workload.path}.volumes.{number}.{source}"
            if source not in _VOLUMES:
                yield from _refused(workload, path)
            elif source in _VOLUME_FLAGS:
                yield from _refused(workload, path, _VOLUME_FLAGS[source])


def _check_container(workload: Workload, container: Container) -> Iterator[Finding]:
    spec = container.spec
    for field in _CONTAINER_NEVER:
        if field in spec:
            yield from _refused(workload, f"{container.path}.{field}")
    ports = spec.get("ports") or []
    if len(ports) > 1:
        yield Finding(workload.label, f"{container.path}.ports", "Knative takes one port only", "Keep the one of HTTP.")
    for number, port in enumerate(ports):
        if port.get("name", "") not in _PORT_NAMES:
            what = f"Knative refuses a port named {port['name']}"
            yield Finding(workload.label, f"{container.path}.ports.{number}.name", what, "Name it http1 or h2c.")
    if ((spec.get("securityContext") or {}).get("capabilities") or {}).get("add"):
        yield from _refused(workload, f"{container.path}.securityContext.capabilities.add")
    for entry in spec.get("env") or []:
        if {"fieldRef", "resourceFieldRef"} & set(entry.get("valueFrom") or {}):
            yield from _refused(workload, f"{container.path}.env.{entry['name']}.fieldRef", "fieldref")
    yield from _check_mounts(workload, container.path, spec)


def _check_mounts(workload: Workload, path: str, spec: Mapping[str, Any]) -> Iterator[Finding]:
    volumes = {volume["name"]: volume for volume in workload.pod.get("volumes") or []}
    for number, mount in enumerate(spec.get("volumeMounts") or []):
        volume = volumes.get(mount["name"], {})
        if {"secret", "configMap", "projected"} & set(volume) and not mount.get("readOnly"):
            what = f"Knative takes the volume {mount['name']} for reading only"
            yield Finding(workload.label, f"{path}.volumeMounts.{number}", what, "Add readOnly: true.")


def _refused(workload: Workload, path: str, flag: str = "") -> Iterator[Finding]:
    field = path.rsplit(".", 1)[-1]
    if flag and field in _features(workload):
        return
    remedy = "Leave it out in Knative mode."
    if flag:
        remedy = (
            f"Leave it out in Knative mode, or turn on kubernetes.podspec-{flag} in ConfigMap config-features of "
            f"knative-serving and say so: annotation {FEATURES_ANNOTATION}: {field}."
        )
    yield Finding(workload.label, path, "Knative refuses this field", remedy)


def _features(workload: Workload) -> set[str]:
    annotations = workload.document["metadata"].get("annotations") or {}
    return {field.strip() for field in annotations.get(FEATURES_ANNOTATION, "").split(",")}
