"""Selectors that choose no pod, Services that lead nowhere and budgets that let no pod go."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from components.core.deployment.manifest_check.finding import Document, Finding, label_of
from components.core.deployment.manifest_check.workloads import Workload, workloads

_ISTIO = {"AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication"}


def check_selectors(documents: Sequence[Document]) -> Iterator[Finding]:
    """Every selector of pods; one that is empty means all, and is left alone."""
    made = workloads(documents)
    for document in documents:
        path, selector = _selector(document)
        if selector and not any(workload.matches(selector) for workload in made):
            what = "it selects no pod of these documents, so it does nothing"
            yield Finding(label_of(document), path, what, "Write the labels that the pods have.")


def _selector(document: Document) -> tuple[str, Mapping[str, Any] | None]:
    spec, kind = document.get("spec") or {}, document.get("kind")
    if kind == "NetworkPolicy":
        return "spec.podSelector", spec.get("podSelector")
    if kind in ("PodDisruptionBudget", "PodMonitor"):
        return "spec.selector", spec.get("selector")
    if kind == "Service":
        selector = spec.get("selector")
        return "spec.selector", {"matchLabels": selector} if selector else None
    if kind in _ISTIO:
        return "spec.selector", spec.get("selector")
    if kind == "Sidecar":
        return "spec.workloadSelector", {"matchLabels": (spec.get("workloadSelector") or {}).get("labels") or {}}
    return "spec", None


def check_services(documents: Sequence[Document]) -> Iterator[Finding]:
    """A Service leads to a port that its pods have."""
    made = workloads(documents)
    for document in documents:
        _, selector = _selector(document)
        if document.get("kind") != "Service" or not selector:
            continue
        ports = [port for workload in made if workload.matches(selector) for port in _ports(workload)]
        for number, port in enumerate(document["spec"].get("ports") or []):
            target = port.get("targetPort", port.get("port"))
            if ports and target not in ports:
                what = f"its pods have no port {target}"
                yield Finding(label_of(document), f"spec.ports.{number}.targetPort", what, "Name a container's port.")


def _ports(workload: Workload) -> Iterator[int | str]:
    for container in workload.containers():
        for port in container.spec.get("ports") or []:
            yield port["containerPort"]
            if "name" in port:
                yield port["name"]


def check_budgets(documents: Sequence[Document]) -> Iterator[Finding]:
    """A disruption budget lets at least one pod go, or no node could ever be drained."""
    made = workloads(documents)
    for document in documents:
        if document.get("kind") != "PodDisruptionBudget":
            continue
        spec = document["spec"]
        pods = sum(workload.replicas for workload in made if workload.matches(spec.get("selector")))
        least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
        if most in (0, "0%"):
            yield _blocks(document, "maxUnavailable", f"{most} lets no pod go")
        if least == "100%" or (isinstance(least, int) and pods and least >= pods):
            yield _blocks(document, "minAvailable", f"{least} of the {pods} pods must stay, so none may go")


def _blocks(document: Document, field: str, what: str) -> Finding:
    return Finding(
        label_of(document), f"spec.{field}", f"{what}, and a node could not be drained", "Use maxUnavailable: 1."
    )
