"""From an overlay to the objects that are applied: rendered by kustomize, completed, put in order."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from components.core.deployment.kubernetes_api import Object
from components.core.errors import ConfigError

PART_LABEL = "app.kubernetes.io/part-of"
MANAGED_LABEL = "app.kubernetes.io/managed-by"
SETTINGS_ANNOTATION = "whetstone.dev/settings"
"""On the pods: changes with what they read at their start, so that a change replaces them."""

_ORDER = (
    # identity, settings and policies before what they are for; what scales and watches after it
    ("ServiceAccount", "ConfigMap", "Secret", "PersistentVolumeClaim", "Role", "RoleBinding"),
    ("PeerAuthentication", "RequestAuthentication", "AuthorizationPolicy", "NetworkPolicy", "Sidecar"),
    ("Service", "DestinationRule", "VirtualService", "HTTPRoute"),
    ("ServingRuntime", "InferenceService", "Deployment"),
)

_IMAGE = re.compile(r"(?P<name>whetstone-[a-z-]+):(?P<tag>[^:/]*?(?P<variant>-cuda)?)")


@dataclass(frozen=True)
class Release:
    """What is deployed and where."""

    part: str
    """`api` or `ui`."""
    overlay: str
    """Name below manifests/<part>/overlays, or a folder."""
    namespace: str
    registry: str = ""
    tag: str = ""
    """Empty: as the overlay has it."""

    @property
    def label(self) -> str:
        """Label selector of everything that this part has in the cluster."""
        return f"{PART_LABEL}=llm-{self.part},{MANAGED_LABEL}=whetstone"


def overlay_folder(release: Release, root: Path) -> Path:
    """Folder of an overlay.

    Raises:
        ConfigError: If there is none of that name; the message lists those that there are.
    """
    overlays = root / "manifests" / release.part / "overlays"
    for folder in (overlays / release.overlay, Path(release.overlay)):
        if (folder / "kustomization.yaml").is_file():
            return folder.resolve()
    known = ", ".join(sorted(path.parent.name for path in overlays.glob("*/kustomization.yaml")))
    raise ConfigError(f"there is no overlay {release.overlay} for the {release.part}. Choose one of: {known}.")


def render(release: Release, root: Path) -> list[Object]:
    """The objects of a release, in the order in which they are applied.

    Args:
        release: What is wanted.
        root: Of the checkout; the wrapper around the overlay is written below `build/deploy`.

    Raises:
        ConfigError: If kustomize is missing or refuses the overlay.
    """
    folder = root / "build" / "deploy" / release.part
    folder.mkdir(parents=True, exist_ok=True)
    from_here = [
        os.path.relpath(path, folder.resolve())
        for path in (overlay_folder(release, root), root / "manifests" / release.part / "namespace")
    ]
    wrapper = _wrapper(release, *from_here)
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(wrapper, sort_keys=False), encoding="utf-8")
    text = build(folder)
    documents = sorted((document for document in yaml.safe_load_all(text) if document), key=_place)
    _name_images(documents, release)
    return documents


def _wrapper(release: Release, overlay: str, namespace_strings: str) -> Object:
    pairs = {PART_LABEL: f"llm-{release.part}", MANAGED_LABEL: "whetstone"}
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": release.namespace,
        "resources": [overlay],
        "labels": [{"pairs": pairs}],
        "transformers": [namespace_strings],
    }


def _name_images(documents: Sequence[Object], release: Release) -> None:
    """Give our images their registry and tag; what marks a variant (-cuda) stays."""
    for document in documents:
        pods = document.get("spec", {}).get("predictor") or document.get("spec", {}).get("template", {}).get("spec", {})
        for container in pods.get("containers", []):
            ours = _IMAGE.fullmatch(container["image"])
            if ours:
                tag = f"{release.tag}{ours['variant'] or ''}" if release.tag else ours["tag"]
                container["image"] = "/".join(filter(None, [release.registry.rstrip("/"), f"{ours['name']}:{tag}"]))


def build(folder: Path) -> str:
    """Render a kustomize folder to YAML.

    Raises:
        ConfigError: If kustomize is missing or refuses the folder.
    """
    found = subprocess.run([*_kustomize(), str(folder)], capture_output=True, text=True)
    if found.returncode:
        words = found.stderr.strip().removeprefix("error: ").removeprefix("Error: ")
        raise ConfigError(f"kustomize cannot build {folder}: {words}")
    return found.stdout


def _kustomize() -> list[str]:
    if shutil.which("kubectl"):
        return ["kubectl", "kustomize"]
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    raise ConfigError("neither kubectl nor kustomize is installed here. Install kubectl 1.27 or newer.")


def _place(document: Object) -> tuple[int, str, str]:
    kind = document["kind"]
    place = next((number for number, kinds in enumerate(_ORDER) if kind in kinds), len(_ORDER))
    return place, kind, document["metadata"]["name"]


def find(documents: Sequence[Object], kind: str, name: str = "") -> Object | None:
    """The first object of a kind (and name), if there is one."""
    return next((d for d in documents if d["kind"] == kind and name in ("", d["metadata"]["name"])), None)


def pod_annotations(document: Object) -> Object | None:
    """Where the annotations of an object's pods stand; none for objects without pods."""
    spec: Object = document.get("spec", {})
    if document["kind"] == "InferenceService":
        owner = spec.get("predictor")
    else:
        owner = spec.get("template", {}).setdefault("metadata", {}) if document["kind"] == "Deployment" else None
    if owner is None:
        return None
    annotations: Object = owner.setdefault("annotations", {})
    return annotations


def stamp_settings(documents: Sequence[Object], more: Sequence[str]) -> None:
    """Mark the pods with a digest of what they read at their start.

    Args:
        documents: Changed in place; their ConfigMaps are part of the digest.
        more: Versions of the secrets, which stand in no document.
    """
    maps = [document.get("data", {}) for document in documents if document["kind"] == "ConfigMap"]
    digest = hashlib.sha256(json.dumps([maps, list(more)], sort_keys=True).encode()).hexdigest()[:16]
    for document in documents:
        annotations = pod_annotations(document)
        if annotations is not None:
            annotations[SETTINGS_ANNOTATION] = digest
