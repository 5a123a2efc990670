"""The API server, the namespace, and what we may do in it."""

from collections.abc import Iterator

from components.core.deployment.doctor.finding import Finding, Subject, dig
from components.core.deployment.kinds import find_kind

_WRITE = ("create", "patch")
_APPLIED = ("Secret", "ConfigMap", "ServiceAccount", "NetworkPolicy", "PodDisruptionBudget")
_MESH = ("AuthorizationPolicy", "PeerAuthentication")

Right = tuple[str, str, str]
"""Verb, kind, subresource."""


def check_server(subject: Subject) -> Iterator[Finding]:
    """Whether the API server answers; its error ends the whole examination."""
    version = dig(subject.cluster.get_path("/version"), "gitVersion") or "of unknown version"
    yield Finding("ok", "API server", f"{subject.cluster.address}, Kubernetes {version}")


def check_namespace(subject: Subject) -> Iterator[Finding]:
    """Whether the namespace is there and belongs to a Kubeflow profile."""
    name, title = subject.namespace, "Namespace"
    found = subject.cluster.get("Namespace", name)
    if found is None:
        yield Finding("error", title, f"{name} does not exist", "Create a Profile, or set NAMESPACE to yours.")
        return
    labels = dig(found, "metadata", "labels") or {}
    injected = labels.get("istio-injection") == "enabled" or "istio.io/rev" in labels
    if "app.kubernetes.io/part-of" in labels or dig(found, "metadata", "annotations", "owner"):
        yield Finding("ok", title, f"{name}, of a Kubeflow profile")
    else:
        remedy = "Use a Profile's namespace: pipelines run as its service account default-editor."
        yield Finding("warning", title, f"{name} is not the namespace of a Kubeflow profile", remedy)
    if subject.meshed and not injected:
        remedy = f"Label it: kubectl label namespace {name} istio-injection=enabled. Or deploy with OVERLAY=standard."
        yield Finding("error", "Istio injection", f"{name} does not inject sidecars, which the policies need", remedy)


def check_rights(subject: Subject) -> Iterator[Finding]:
    """Whether we may do what the commands do, one line for each command."""
    for command, rights in _rights(subject).items():
        missing = [right for right in rights if not _may(subject, right)]
        if not missing:
            yield Finding("ok", f"Rights: {command}", "all there")
            continue
        told = ", ".join(f"{verb} {find_kind(kind).resource}{'/' if sub else ''}{sub}" for verb, kind, sub in missing)
        remedy = f"Ask an administrator for them in {subject.namespace} (the role kubeflow-edit has most)."
        yield Finding("error", f"Rights: {command}", f"you may not: {told}", remedy)


def check_node_rights(subject: Subject) -> Iterator[Finding]:
    """Whether GPUs can be counted."""
    for kind, use in (("Node", "seen"), ("Pod", "told from taken ones")):
        if not subject.cluster.may("list", find_kind(kind)):
            remedy = f"Ask an administrator for the right to list {find_kind(kind).plural}, or look yourself."
            detail = f"you may not list {find_kind(kind).plural}: GPUs cannot be {use}"
            yield Finding("warning", f"Rights: {kind.lower()}s", detail, remedy)


def _may(subject: Subject, right: Right) -> bool:
    verb, kind, subresource = right
    return subject.cluster.may(verb, find_kind(kind), subject.namespace, subresource)


def _rights(subject: Subject) -> dict[str, list[Right]]:
    mesh = _MESH if subject.meshed else ()
    api, page = (*_APPLIED, *mesh, "InferenceService"), (*_APPLIED[1:], *mesh, "Deployment", "Service")
    page += ("VirtualService",) if subject.meshed else ()
    rights = {
        "create-secret": _all(("get", *_WRITE), ("Secret",)),
        "api-deploy": _all(_WRITE, api),
        "ui-deploy": _all(_WRITE, page),
        "destroy": _all(("delete",), sorted({*api, *page})),
        "status, logs": [*_all(("list",), ("Pod", "Event")), ("get", "Pod", "log")],
    }
    if subject.recipe.gpu.num_nodes > 1:
        rights["training jobs"] = _all(("create", "get", "delete"), ("TrainJob",))
    return rights


def _all(verbs: tuple[str, ...], kinds: tuple[str, ...] | list[str]) -> list[Right]:
    return [(verb, kind, "") for kind in kinds for verb in verbs]
