"""Secrets that stand in a document, and so in git, in build folders and in the history of a cluster."""

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from typing import Any

from components.core.deployment.manifest_check.finding import Document, Finding, label_of
from components.core.deployment.manifest_check.workloads import workloads

_SHAPES = {
    "a Hub token": re.compile(r"\bhf_[A-Za-z0-9]{16,}"),
    "a LangSmith key": re.compile(r"\b(ls__|lsv2_(pt|sk)_)[A-Za-z0-9_]{16,}"),
    "an API key": re.compile(r"\bsk-[A-Za-z0-9_-]{16,}"),
    "an AWS key": re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b"),
    "a GitHub token": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{20,}"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a token": re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
}
_SECRET_NAME = re.compile(r"(^|_)(TOKEN|KEY|PASSWORD|SECRET)$")
_REMEDY = "Take it out, revoke it if it was committed, and refer to a Secret (secretKeyRef)."


def check_literal_secrets(documents: Sequence[Document]) -> Iterator[Finding]:
    """Every text of every document, decoded where it is a Secret's; a finding never shows the value."""
    for document in documents:
        for path, text in _texts(document, ""):
            shape = _shape(text) or (_shape(_decoded(text)) if document.get("kind") == "Secret" else None)
            if shape:
                yield Finding(label_of(document), path, f"it holds {shape}", _REMEDY)
    for workload in workloads(documents):
        for container in workload.containers():
            for entry in container.spec.get("env") or []:
                value = entry.get("value")
                if value and _SECRET_NAME.search(entry["name"]) and not _shape(value) and "$(" not in value:
                    path = f"{container.path}.env.{entry['name']}"
                    yield Finding(workload.label, path, "by its name its value is a secret", _REMEDY)


def _texts(node: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, str):
        yield path, node
        return
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from _texts(value, f"{path}.{key}" if path else str(key))


def _shape(text: str) -> str | None:
    return next((name for name, pattern in _SHAPES.items() if pattern.search(text)), None)


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode("utf-8", "replace")
    except binascii.Error:
        return ""
