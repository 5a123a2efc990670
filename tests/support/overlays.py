"""What an overlay of manifests/ applies to a cluster, rendered by the real kustomize in kubectl."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import yaml
from support.istio_to_envoy import Document

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
KUBECTL = shutil.which("kubectl")


@cache
def rendered(folder: Path) -> tuple[Document, ...]:
    """The documents of a kustomization."""
    done = subprocess.run([KUBECTL or "kubectl", "kustomize", str(folder)], capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"{folder} does not build: {done.stderr}")
    return tuple(yaml.safe_load_all(done.stdout))


def in_namespace(folder: Path, overlay: Path, namespace: str) -> Path:
    """An overlay of a user: one of ours in another namespace."""
    folder.mkdir(parents=True)
    base, names = (os.path.relpath(path, folder) for path in (overlay, overlay.parents[1] / "namespace"))
    text = f"namespace: {namespace}\nresources: [{base}]\ntransformers: [{names}]\n"
    (folder / "kustomization.yaml").write_text(text, encoding="utf-8")
    return folder


def one(documents: tuple[Document, ...], kind: str, name: str) -> Document:
    """The document of a kind and name."""
    return next(doc for doc in documents if doc["kind"] == kind and doc["metadata"]["name"] == name)
