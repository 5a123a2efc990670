"""What a rule has found."""

from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]
"""One Kubernetes object as YAML holds it."""


@dataclass(frozen=True)
class Finding:
    """One thing that no cluster refuses and that goes wrong later."""

    document: str
    """Kind/name."""
    path: str
    """Where in the document, such as `spec.predictor.scaleMetric`."""
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.document} {self.path}: {self.what}. {self.remedy}"


def label_of(document: Document) -> str:
    """Kind/name of a document."""
    return f"{document.get('kind', '?')}/{(document.get('metadata') or {}).get('name', '?')}"
