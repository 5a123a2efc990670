"""Names that YAML or Kubernetes would read as something else."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from components.core.deployment.manifest_check.finding import Document, Finding, label_of

_BOOLEANS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "~"}
_LETTER_FIRST = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST = {"InferenceService": 63 - len("-predictor"), "Service": 63}
"""Letters in a name of which a DNS label is made."""


def check_names(documents: Sequence[Document]) -> Iterator[Finding]:
    """Every document's name and namespace."""
    for document in documents:
        for field in ("name", "namespace"):
            value = document["metadata"].get(field)
            problem = _problem(document.get("kind", ""), field, value)
            if problem:
                yield Finding(label_of(document), f"metadata.{field}", *problem)


def _problem(kind: str, field: str, value: Any) -> tuple[str, str] | None:
    if value is None:
        return ("the document has no name", "Name it.") if field == "name" else None
    if not isinstance(value, str):
        return (
            f"YAML reads it as {type(value).__name__} {value!r}",
            "Quote it, or choose another name.",
        )
    if value.lower() in _BOOLEANS:
        return f"{value} is a boolean to YAML wherever it is not quoted", "Choose another name."
    strict = kind in _LONGEST or field == "namespace"
    if not (_LETTER_FIRST if strict else _SUBDOMAIN).fullmatch(value):
        return (
            f"{value} is not a name that {kind} takes",
            "Use small letters, digits and hyphens, with a letter first and no hyphen last.",
        )
    longest = _LONGEST.get(kind, 253) if field == "name" else 63
    if len(value) > longest:
        return f"{len(value)} letters are more than the {longest} from which addresses are made", "Shorten it."
    return None
