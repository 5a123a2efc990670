"""The objects of one model's own endpoint: those of manifests/api/base under another name."""

import copy
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from components.core.deployment.kubernetes_api import Object
from components.core.deployment.manifest_check import EXTERNAL, Finding, check_documents
from components.core.deployment.rendering import MANAGED_LABEL, PART_LABEL, find
from components.core.deployment.startup import size_startup
from components.core.errors import ConfigError

TEMPLATE = Path(__file__).with_name("endpoint.yaml")
TEMPLATE_NAME = "llm-api"
ENDPOINTS_LABEL = "llm-models"
"""Value of `app.kubernetes.io/part-of`: `make api-destroy` leaves these endpoints alone."""
NAME_ANNOTATION = "whetstone.dev/registered-name"
MODEL_FOLDER = "/mnt/models"
LONGEST_NAME = 48
"""The pods' label `app: isvc.<name>-predictor` may have 63 characters."""
_RESERVED = ("llm-api", "llm-ui", "llm-vllm")
_PVC = re.compile(r"pvc://(?P<claim>[a-z0-9][a-z0-9.-]*)/(?P<path>[^/].*)")


def endpoint_name(registered: str) -> str:
    """The name of a registered model's endpoint: lower case letters, digits and hyphens, a letter first, not too long.

    Raises:
        ConfigError: If it would be the name of something that other commands deploy.
    """
    name = re.sub(r"[^a-z0-9]+", "-", registered.lower()).strip("-")
    name = name if name[:1].isalpha() else f"m-{name}".rstrip("-")
    if len(name) > LONGEST_NAME:
        digest = hashlib.sha256(registered.encode()).hexdigest()[:8]
        name = f"{name[: LONGEST_NAME - 9].rstrip('-')}-{digest}"
    if name in _RESERVED:
        raise ConfigError(f"an endpoint cannot be called {name}: `make api-deploy` uses it. Choose another name.")
    return name


def endpoint_documents(
    model: str,
    registered: str,
    namespace: str,
    image: str,
    environment: dict[str, str],
    token: tuple[str, str],
    size_bytes: int | None = None,
) -> list[Object]:
    """Service account, network policy, InferenceService and disruption budget of one model.

    Args:
        model: `hf://user/repo@sha` or `pvc://claim/path`.
        registered: Registered name, which also is the one in the endpoint's paths.
        namespace: Where to.
        image: Of the endpoint.
        environment: More addresses for it; never a secret.
        token: Secret and key of the Hub's token, which the pod reads if they are there.
        size_bytes: Of the weights, for the patience of the startup probe; none keeps the template's.

    Raises:
        ConfigError: If the model lies where no pod can read it.
    """
    name = endpoint_name(registered)
    documents: list[Object] = _renamed(list(yaml.safe_load_all(TEMPLATE.read_text(encoding="utf-8"))), name)
    for document in documents:
        metadata = document["metadata"]
        metadata["namespace"] = namespace
        metadata["labels"] = metadata.get("labels", {}) | {PART_LABEL: ENDPOINTS_LABEL, MANAGED_LABEL: "whetstone"}
    service = find(documents, "InferenceService")
    if service is None:
        raise ConfigError(f"{TEMPLATE} holds no InferenceService. Restore it from the repository.")
    service["metadata"]["annotations"][NAME_ANNOTATION] = registered
    predictor = service["spec"]["predictor"]
    container = predictor["containers"][0]
    container["image"] = image
    next(entry for entry in container["env"] if entry["name"] == "HF_TOKEN")["valueFrom"] = {
        "secretKeyRef": {"name": token[0], "key": token[1], "optional": True}
    }
    values = {"MODEL": _place(model, predictor, container), "SERVED_MODEL_NAME": registered, **environment}
    container["env"] = [entry for entry in container["env"] if entry["name"] not in values]
    container["env"] += [{"name": key, "value": value} for key, value in values.items()]
    if size_bytes is not None:
        size_startup(service, size_bytes)
    return documents


def check_endpoint(documents: list[Object], secrets: Sequence[str] = ()) -> list[Finding]:
    """Hold the objects against our own rules; a volume with models is the user's, and known to be there.

    Args:
        documents: Of one model.
        secrets: More names of secrets that are there.
    """
    service = find(documents, "InferenceService") or {"spec": {"predictor": {}}}
    volumes = service["spec"]["predictor"].get("volumes", [])
    claims = [v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v]
    known = {"PersistentVolumeClaim": claims, "Secret": [*EXTERNAL["Secret"], *secrets]}
    return check_documents(documents, {**EXTERNAL, **known})


def _place(model: str, predictor: Object, container: Object) -> str:
    """What MODEL is; a volume is mounted where the endpoint looks for it."""
    if model.startswith("hf://"):
        return model.removeprefix("hf://")
    on_volume = _PVC.fullmatch(model)
    if on_volume is None or ".." in Path(on_volume["path"]).parts:
        raise ConfigError(
            f"the model {model} lies where pods of the cluster cannot read it. Publish it to the Hub (HF_REPO and "
            "HF_TOKEN), or name its folder on a volume: pvc://<claim>/<path>."
        )
    claim = {"claimName": on_volume["claim"], "readOnly": True}
    predictor["volumes"].append({"name": "model", "persistentVolumeClaim": claim})
    mount = {"name": "model", "mountPath": MODEL_FOLDER, "subPath": on_volume["path"].rstrip("/"), "readOnly": True}
    container["volumeMounts"].append(mount)
    return MODEL_FOLDER


def _renamed(value: Any, name: str) -> Any:
    """A copy in which everything that is called as the template is called otherwise; its secrets keep their names."""
    if isinstance(value, dict):
        return {key: _renamed(item, name) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, name) for item in value]
    return name if value == TEMPLATE_NAME else copy.copy(value)
