"""Who may use a model: one that is restricted belongs to its namespace alone.

A version of the registry says so in its tags, a model folder in model_info.json, or in access.json where it was changed
after the model was published. This keeps our own commands from using it; who reads the store itself reads the files.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from components.core.errors import RegistryError, StorageError

ACCESS_FILE = "access.json"
"""Written after publishing, so it is no part of the manifest; it wins over model_info.json."""
RESTRICTED_TAG, NAMESPACE_TAG = "whetstone.restricted", "whetstone.namespace"
_INFO_FILE = "model_info.json"


class Access(BaseModel):
    """Whose a model is, and whether others may use it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    restricted: bool = False
    namespace: str = ""
    """The owner; empty for a model from before there were owners."""

    def allows(self, namespace: str) -> bool:
        """Whether this namespace may list and use the model."""
        return not self.restricted or self.namespace == namespace

    def tags(self) -> dict[str, str]:
        """As tags of a registered model or version."""
        return {RESTRICTED_TAG: str(self.restricted).lower(), NAMESPACE_TAG: self.namespace}


def access_of(tags: Mapping[str, str]) -> Access:
    """Read the tags of a registered model or version; one without them is not restricted."""
    # whatever was written into the tag by hand: only a clear no opens it
    restricted = tags.get(RESTRICTED_TAG, "false").strip().lower() not in ("false", "")
    return Access(restricted=restricted, namespace=tags.get(NAMESPACE_TAG, ""))


def read_access(folder: Path) -> Access:
    """Who may use the model of a folder; a folder that is none of ours is open.

    Raises:
        StorageError: If the file that should say it is broken.
    """
    own = folder / ACCESS_FILE
    return _read(own, nested=False) if own.is_file() else read_info_access(folder / _INFO_FILE)


def read_info_access(path: Path) -> Access:
    """What a model_info.json says; one that is not there or was written before there were owners is open.

    Raises:
        StorageError: If the file is broken.
    """
    return _read(path, nested=True) if path.is_file() else Access()


def write_access(folder: Path, access: Access) -> None:
    """Change who may use the model of a published folder.

    Raises:
        StorageError: If the folder cannot be written.
    """
    partial = folder / f".{ACCESS_FILE}.partial"
    try:
        partial.write_text(access.model_dump_json(indent=2) + "\n", encoding="utf-8")
        partial.replace(folder / ACCESS_FILE)
    except OSError as error:
        raise StorageError(
            f"cannot write {folder / ACCESS_FILE}: {error.strerror or error}. Check its owner."
        ) from error


def check_access(access: Access, what: str, namespace: str) -> None:
    """Raise if a model is another namespace's alone.

    Args:
        access: Of the model.
        what: Names it for the message.
        namespace: Who wants to use it.

    Raises:
        RegistryError: If it is restricted to another namespace.
    """
    if not access.allows(namespace):
        owner = f"namespace {access.namespace}" if access.namespace else "another namespace"
        raise RegistryError(
            f"{what} is restricted to {owner} and cannot be used from namespace {namespace}. Work in that namespace "
            "(KFP_NAMESPACE), choose another model, or let its owners lift the restriction."
        )


def _read(path: Path, nested: bool) -> Access:
    """A broken file opens nothing."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        return Access.model_validate(content.get("access", {}) if nested else content)
    except (OSError, ValueError, AttributeError, ValidationError) as error:
        raise StorageError(
            f"{path} does not say who may use this model ({type(error).__name__}). Publish the model again."
        ) from error
