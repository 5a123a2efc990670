"""Documents that make pods, seen alike: InferenceService, Deployment and what shares its shape."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.core.deployment.manifest_check.finding import Document, label_of

MODE_ANNOTATION = "serving.kserve.io/deploymentMode"
FRAMEWORKS = (
    "model", "huggingface", "lightgbm", "onnx", "paddle", "pmml", "pytorch", "sklearn", "tensorflow", "triton",
    "xgboost",
)  # fmt: skip
"""Predictor fields of which each is an implementation of its own."""
CUSTOM_CONTAINER = "kserve-container"
_TEMPLATED = {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"}


@dataclass(frozen=True)
class Container:
    """A container and where it stands."""

    path: str
    spec: Mapping[str, Any]
    from_runtime: bool = False
    """The serving runtime adds image, ports and security context."""


@dataclass(frozen=True)
class Workload:
    """The pods that a document makes."""

    document: Document
    path: str
    """Of the pod's specification."""
    pod: Mapping[str, Any]
    labels: Mapping[str, str]
    replicas: int
    """The fewest that run."""

    @property
    def label(self) -> str:
        """Kind/name of the document."""
        return label_of(self.document)

    @property
    def knative(self) -> bool:
        """Whether Knative makes the pods."""
        return deployment_mode(self.document) == "Knative"

    def containers(self) -> Iterator[Container]:
        """All containers, the one of a serving runtime among them."""
        for field in ("initContainers", "containers"):
            for number, spec in enumerate(self.pod.get(field) or []):
                yield Container(f"{self.path}.{field}.{number}", spec)
        if self.document.get("kind") == "InferenceService":
            for field in FRAMEWORKS:
                if field in self.pod:
                    yield Container(f"{self.path}.{field}", self.pod[field] or {}, from_runtime=True)

    def matches(self, selector: Mapping[str, Any] | None) -> bool:
        """Whether a label selector (or plain `matchLabels`) names these pods."""
        if not selector:
            return True
        wanted = selector.get("matchLabels") or {}
        return all(self.labels.get(key) == value for key, value in wanted.items()) and all(
            self._meets(expression) for expression in selector.get("matchExpressions") or []
        )

    def _meets(self, expression: Mapping[str, Any]) -> bool:
        present, value = expression["key"] in self.labels, self.labels.get(expression["key"])
        return {
            "Exists": present,
            "DoesNotExist": not present,
            "In": value in (expression.get("values") or []),
            "NotIn": value not in (expression.get("values") or []),
        }.get(expression["operator"], False)


def deployment_mode(document: Document) -> str | None:
    """Mode that an InferenceService names."""
    annotations = document["metadata"].get("annotations") or {}
    return annotations.get(MODE_ANNOTATION) if document.get("kind") == "InferenceService" else None


def workloads(documents: Sequence[Document]) -> list[Workload]:
    """Everything in the documents that makes pods."""
    return [workload for document in documents for workload in _workloads(document)]


def _workloads(document: Document) -> Iterator[Workload]:
    kind, spec = document.get("kind"), document.get("spec") or {}
    if kind == "InferenceService":
        for component in ("predictor", "transformer", "explainer"):
            if component in spec:
                yield _component(document, component, spec[component] or {})
    elif kind in _TEMPLATED:
        template = spec.get("template") or {}
        labels = (template.get("metadata") or {}).get("labels") or {}
        yield Workload(document, "spec.template.spec", template.get("spec") or {}, labels, spec.get("replicas", 1))
    elif kind == "Pod":
        yield Workload(document, "spec", spec, document["metadata"].get("labels") or {}, 1)


def _component(document: Document, component: str, spec: Mapping[str, Any]) -> Workload:
    """KServe's own labels on the pods of a component."""
    name = document["metadata"].get("name")
    labels = {
        **(document["metadata"].get("labels") or {}),
        **(spec.get("labels") or {}),
        "component": component,
        "serving.kserve.io/inferenceservice": str(name),
    }
    if deployment_mode(document) == "Knative":
        labels["serving.knative.dev/service"] = f"{name}-{component}"
    else:
        labels["app"] = f"isvc.{name}-{component}"
    return Workload(document, f"spec.{component}", spec, labels, spec.get("minReplicas", 1))
