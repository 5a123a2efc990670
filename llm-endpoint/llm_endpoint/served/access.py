"""May this endpoint serve the model: one that is restricted is served in its own namespace only."""

import json
from pathlib import Path
from typing import Any

from llm_endpoint.errors import ModelError
from llm_endpoint.settings import Settings

ACCESS_FILE = "access.json"
"""Written when it was changed after publishing; it wins over `access` of model_info.json."""


def check_access(folder: Path, info: dict[str, Any], settings: Settings) -> None:
    """Raise if a model is another namespace's alone.

    Args:
        folder: The model's.
        info: model_info.json; empty for a model that is no folder of ours.
        settings: Say in which namespace this is.

    Raises:
        ModelError: If it is, or if the folder does not say clearly.
    """
    access = _read(folder / ACCESS_FILE) if (folder / ACCESS_FILE).is_file() else info.get("access", {})
    if not isinstance(access, dict) or not isinstance(access.get("restricted", False), bool):
        raise ModelError(f"{folder} does not say clearly who may use this model. Publish it again.")
    owner, here = str(access.get("namespace", "")), own_namespace(settings)
    if access.get("restricted", False) and owner != here:
        raise ModelError(
            f"the model in {folder} is restricted to namespace {owner or 'unknown'} and is not served in {here}. Serve "
            "it there, choose another model, or let its owners lift the restriction."
        )


def own_namespace(settings: Settings) -> str:
    """The namespace of this pod; on a machine outside of a cluster that for which the pipeline's commands work.

    A pod without a mounted token and without POD_NAMESPACE cannot know its own; our manifests set the variable.
    """
    if settings.pod_namespace:
        return settings.pod_namespace
    try:
        return settings.pod_namespace_file.read_text(encoding="utf-8").strip() or settings.kfp_namespace
    except OSError:
        return settings.kfp_namespace


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({type(error).__name__}). Publish the model again.") from error
