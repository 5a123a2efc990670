"""Containers: which image, how much of a node, with which rights, and probes that can answer."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from components.core.deployment.manifest_check.finding import Document, Finding
from components.core.deployment.manifest_check.workloads import Container, Workload, workloads

_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def check_containers(documents: Sequence[Document]) -> Iterator[Finding]:
    """Every container; of a serving runtime's only what the document itself decides."""
    for workload in workloads(documents):
        for container in workload.containers():
            yield from _check_requests(workload, container)
            if not container.from_runtime:
                yield from _check_image(workload, container)
                yield from _check_rights(workload, container)
                yield from _check_probes(workload, container)


def _check_image(workload: Workload, container: Container) -> Iterator[Finding]:
    image = str(container.spec.get("image", ""))
    name, at, _ = image.partition("@")
    # a colon before the last slash is a registry's port
    tag = name.rsplit("/", 1)[-1].partition(":")[2]
    if not at and tag in ("", "latest"):
        what = f"image {image or '(none)'} has no fixed tag, so two pods may run different code"
        yield Finding(workload.label, f"{container.path}.image", what, "Name a tag (TAG in images.env) or a digest.")


def _check_requests(workload: Workload, container: Container) -> Iterator[Finding]:
    requests = (container.spec.get("resources") or {}).get("requests") or {}
    missing = [resource for resource in ("cpu", "memory") if resource not in requests]
    if missing:
        what = f"no request for {' and '.join(missing)}, so the scheduler may put it on a full node"
        yield Finding(workload.label, f"{container.path}.resources.requests", what, "Say what it needs.")


def _check_rights(workload: Workload, container: Container) -> Iterator[Finding]:
    pod, own = workload.pod.get("securityContext") or {}, container.spec.get("securityContext") or {}
    user = own.get("runAsUser", pod.get("runAsUser"))
    may = {
        "runAsNonRoot": user == 0 or not own.get("runAsNonRoot", pod.get("runAsNonRoot")),
        "readOnlyRootFilesystem": not own.get("readOnlyRootFilesystem"),
        "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation", True),
        "privileged": own.get("privileged", False),
    }
    findings = {
        "runAsNonRoot": ("it may run as root", "Set runAsNonRoot: true and a runAsUser above 0."),
        "readOnlyRootFilesystem": (
            "its root file system is writable",
            "Set readOnlyRootFilesystem: true, and mount an emptyDir where it writes.",
        ),
        "allowPrivilegeEscalation": ("it may gain rights", "Set allowPrivilegeEscalation: false."),
        "privileged": ("it has all rights of the node", "Set privileged: false."),
    }
    for field, (what, remedy) in findings.items():
        if may[field]:
            yield Finding(workload.label, f"{container.path}.securityContext.{field}", what, remedy)


def _check_probes(workload: Workload, container: Container) -> Iterator[Finding]:
    ports = container.spec.get("ports") or []
    open_ports = {port.get("containerPort") for port in ports} | {port["name"] for port in ports if "name" in port}
    for probe in _PROBES:
        port = _probed_port(container.spec.get(probe) or {})
        if port is not None and port not in open_ports:
            what = f"it asks port {port}, which the container does not declare"
            yield Finding(workload.label, f"{container.path}.{probe}", what, "Ask one of its ports.")


def _probed_port(probe: Mapping[str, Any]) -> Any:
    return next((probe[way].get("port") for way in ("httpGet", "tcpSocket", "grpc") if way in probe), None)
