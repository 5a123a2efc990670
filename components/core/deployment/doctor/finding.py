"""What a check of the cluster says, and what it looks at."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from components.core.deployment.kubernetes_api import Cluster
from components.core.recipe import Recipe
from components.core.settings import Settings

Status = Literal["ok", "warning", "error"]
Object = Mapping[str, Any]


class Finding(NamedTuple):
    """One line of the doctor."""

    status: Status
    title: str
    """What was looked at."""
    detail: str
    """What was seen."""
    remedy: str = ""
    """What to do; empty when all is well."""


@dataclass(frozen=True)
class Subject:
    """A cluster, and what is to run on it."""

    cluster: Cluster
    namespace: str
    recipe: Recipe
    settings: Settings
    overlay: str = "kubeflow"
    """How the endpoint is to be deployed."""
    kfp_host: str = ""
    """Kubeflow Pipelines' own address, where it is asked when its deployment cannot be seen."""
    gpu_bytes: Callable[[Recipe, Settings], int] | None = None
    """Estimates the memory that a recipe needs of each GPU; without it that is not checked."""

    @property
    def mode(self) -> str:
        """KServe's deployment mode of that overlay."""
        return "Knative" if self.overlay == "knative" else "Standard"

    @property
    def meshed(self) -> bool:
        """Whether that overlay brings Istio's policies."""
        return self.overlay != "standard"


Check = Callable[[Subject], Iterator[Finding]]


def dig(document: Any, *path: str) -> Any:
    """A value deep in an object; None where a part of the path is not there."""
    for part in path:
        document = document.get(part) if isinstance(document, Mapping) else None
    return document


def image_version(deployment: Object) -> str:
    """Tag of a deployment's first image, such as `v0.16.0`; empty where it has none."""
    containers = dig(deployment, "spec", "template", "spec", "containers") or [{}]
    # a digest may follow the tag, and a registry may carry a port
    name = str(containers[0].get("image", "")).split("@")[0].rpartition("/")[2]
    return name.partition(":")[2]


def release(version: str) -> tuple[int, int] | None:
    """Major and minor number of a version; None where it tells none (`latest`)."""
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else None
