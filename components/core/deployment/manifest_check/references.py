"""Secrets, ConfigMaps, service accounts and volumes that a document names and nothing brings."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from components.core.deployment.manifest_check.finding import Document, Finding, label_of
from components.core.deployment.manifest_check.workloads import Workload, workloads
from components.core.settings import HUB_SECRET

External = Mapping[str, Collection[str]]
"""Kind to the names that may be there already."""
EXTERNAL: External = {
    # made by the commands `create-secret` and `api-deploy`
    "Secret": (HUB_SECRET, "llm-api-secret", "llm-api-keys", "llm-api-service"),
    # made by manifests/pipeline
    "PersistentVolumeClaim": ("whetstone-checkpoints",),
    # every namespace has the first, every Profile the second
    "ServiceAccount": ("default", "default-editor"),
    "ConfigMap": ("kube-root-ca.crt", "istio-ca-root-cert"),
}
_ENV_SOURCES = {"secretKeyRef": "Secret", "configMapKeyRef": "ConfigMap"}
_ENV_FROM = {"secretRef": "Secret", "configMapRef": "ConfigMap"}


class _Reference(NamedTuple):
    path: str
    kind: str
    name: str
    key: str = ""
    optional: bool = False


def check_references(documents: Sequence[Document], external: External = EXTERNAL) -> Iterator[Finding]:
    """Everything that is named stands in the documents or in the list of what may be there already.

    Args:
        documents: Rendered documents of one part.
        external: Kind to names that are not in the documents.
    """
    known = {(document.get("kind"), document["metadata"].get("name")): document for document in documents}
    found = [(workload.label, reference) for workload in workloads(documents) for reference in _references(workload)]
    found += [(label_of(d), r) for d in documents if d.get("kind") == "RoleBinding" for r in _subjects(d)]
    for label, reference in found:
        target = known.get((reference.kind, reference.name))
        if target is None and reference.name not in external.get(reference.kind, ()):
            what = f"{reference.kind} {reference.name} is neither in these documents nor made by a command"
            yield Finding(label, reference.path, what, "Add it to the overlay, or correct the name.")
        elif target and reference.key and not reference.optional and reference.key not in _keys(target):
            what = f"{reference.kind} {reference.name} has no key {reference.key}"
            yield Finding(label, reference.path, what, "Add the key, or correct its name.")


def _keys(document: Document) -> set[str]:
    return {key for field in ("data", "stringData", "binaryData") for key in document.get(field) or {}}


def _subjects(document: Document) -> Iterator[_Reference]:
    for number, subject in enumerate(document.get("subjects") or []):
        if subject.get("kind") == "ServiceAccount":
            yield _Reference(f"subjects.{number}.name", "ServiceAccount", subject["name"])


def _references(workload: Workload) -> Iterator[_Reference]:
    if "serviceAccountName" in workload.pod:
        yield _Reference(f"{workload.path}.serviceAccountName", "ServiceAccount", workload.pod["serviceAccountName"])
    for number, secret in enumerate(workload.pod.get("imagePullSecrets") or []):
        yield _Reference(f"{workload.path}.imagePullSecrets.{number}", "Secret", secret["name"])
    for number, volume in enumerate(workload.pod.get("volumes") or []):
        yield from _of_volume(f"{workload.path}.volumes.{number}", volume)
    for container in workload.containers():
        yield from _of_environment(container.path, container.spec)


def _of_environment(path: str, container: Mapping[str, Any]) -> Iterator[_Reference]:
    for entry in container.get("env") or []:
        for source, kind in _ENV_SOURCES.items():
            if source in (entry.get("valueFrom") or {}):
                named = entry["valueFrom"][source]
                where = f"{path}.env.{entry['name']}"
                yield _Reference(where, kind, named["name"], named["key"], named.get("optional", False))
    for number, entry in enumerate(container.get("envFrom") or []):
        for source, kind in _ENV_FROM.items():
            if source in entry:
                yield _Reference(f"{path}.envFrom.{number}", kind, entry[source]["name"])


def _of_volume(path: str, volume: Mapping[str, Any]) -> Iterator[_Reference]:
    if "secret" in volume:
        yield _Reference(f"{path}.secret", "Secret", volume["secret"]["secretName"])
    if "configMap" in volume:
        yield _Reference(f"{path}.configMap", "ConfigMap", volume["configMap"]["name"])
    if "persistentVolumeClaim" in volume:
        claim = volume["persistentVolumeClaim"]["claimName"]
        yield _Reference(f"{path}.persistentVolumeClaim", "PersistentVolumeClaim", claim)
    for number, source in enumerate((volume.get("projected") or {}).get("sources") or []):
        for field, kind in (("secret", "Secret"), ("configMap", "ConfigMap")):
            if field in source:
                yield _Reference(f"{path}.projected.{number}.{field}", kind, source[field]["name"])
