"""Names under which models are kept, and names of things that are fit to be shown to others."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from components.core.recipe import ModelConfig, RegistryConfig, TaskConfig

_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")
_DRIVE = re.compile(r"^[A-Za-z]:[\\/]")

CANDIDATE, CHAMPION = "candidate", "champion"
"""Aliases of the newest version, and of the one that others are compared with."""
LABEL_TAG = "version_label"
"""Tag of a version: when it was registered (UTC, `20260102030405`); MLflow's own versions are 1, 2, 3, ..."""
LOCAL_SCHEME = "whetstone:/"
"""Start of the address of a model in the local registry. An MLflow server takes no plain path as a model's source, and
a path would be of one machine only."""


PLACE_TAG = "model_uri"
"""Tag of a version: where its model folder is; its source is what MLflow's own loader reads."""


def place_of(version: Any) -> str:
    """Where the model folder of a registered version is: `hf://...` or `whetstone:/...`."""
    return str(version.tags.get(PLACE_TAG) or version.source)


def registered_source(uri: str, name: str, version: str) -> str:
    """The address of a published model in the registry: the Hub's, or `whetstone:/<name>/<version>`."""
    return uri if uri.startswith("hf://") else f"{LOCAL_SCHEME}{name}/{version}"


def registered_name(registry: RegistryConfig, model: ModelConfig, task: TaskConfig | str) -> str:
    """The name of the registered model: as configured, or model and task, such as `starter-context-qa`.

    Only letters, digits and hyphens are allowed; a slash, dot or underscore becomes a hyphen.

    Args:
        registry: May hold a name.
        model: The base model.
        task: Of a recipe, or its name in the catalogue, such as `classification_single_label`.
    """
    if registry.name is not None:
        return registry.name
    task_name = task if isinstance(task, str) else task.name
    parts = re.findall(r"[a-zA-Z0-9]+", f"{public_name(model.model_id)}-{task_name}")
    return "-".join(parts)


def tuned_name(model_id: str, dataset_id: str) -> str:
    """Model and dataset as one name, such as `Phi-3-mini-4k-instruct-ultrachat-200k`.

    Owners on the Hub, folders and file endings are left out; whatever is no letter or digit becomes a hyphen.
    """
    dataset = public_name(dataset_id).rstrip("/").rpartition("/")[2]
    parts = (public_name(model_id).rpartition("/")[2], re.sub(r"(\.(jsonl|json|csv|tsv|parquet|gz))+$", "", dataset))
    return "-".join(re.findall(r"[a-zA-Z0-9]+", "-".join(parts)))


def is_hub_id(identifier: str) -> bool:
    """Whether this looks like `owner/name`, and not like a path or an address."""
    return bool(_HUB_ID.match(identifier)) and ".." not in identifier


def public_name(identifier: str) -> str:
    """A model or dataset id without what belongs to one machine: the last part of a path, a URL without its keys."""
    if "://" in identifier:
        parts = urlsplit(identifier)
        host = parts.hostname or ""
        return urlunsplit((parts.scheme, f"{host}:{parts.port}" if parts.port else host, parts.path, "", ""))
    if _DRIVE.match(identifier):
        return PureWindowsPath(identifier).name
    if identifier.startswith(("/", "~", ".")) or identifier.count("/") > 1:
        return PurePosixPath(identifier).name
    return identifier


def without_paths(value: Any) -> Any:
    """A JSON value in which paths of this machine are cut to their last part, and addresses lose their keys."""
    if isinstance(value, Mapping):
        return {key: without_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_paths(item) for item in value]
    if isinstance(value, str) and _is_machine_path(value):
        return public_name(value)
    return value


def _is_machine_path(text: str) -> bool:
    # a single "/" or "/n" in a prompt or a token is no path: two levels are asked for
    return bool(
        re.fullmatch(r"(/[^/\n\0]+){2,}/?", text)
        or re.match(r"^(~/|[A-Za-z]:[\\/])", text)
        or re.match(r"^\w+://[^/\s]*(@|/\S*\?)", text)
    )
