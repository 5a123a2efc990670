"""A registered model by its name: as the base of another training, or to be served."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.errors import RegistryError
from components.core.registry.access import check_access
from components.core.registry.champion import fetch_source, find_version
from components.core.registry.mlflow_store import clear_errors, open_client, sqlite_file
from components.core.registry.names import CANDIDATE, CHAMPION, place_of
from components.core.registry.owners import access_of_version
from components.core.settings import Settings


@dataclass(frozen=True)
class RegisteredBase:
    """Where a registered model is, as a recipe names a base model."""

    name: str
    version: str
    model_id: str
    """Hub id, or folder of the local registry."""
    revision: str | None
    """Commit on the Hub; None for a folder."""
    base_model: str
    """What it was itself tuned from; "" where nothing says."""


def find_registered(model: str, settings: Settings, elsewhere: bool = False) -> RegisteredBase | None:
    """Find `NAME`, `NAME@champion`, `NAME@VERSION` in the registry; None for a bare name that is not registered.

    Args:
        model: A bare name means the champion, or the candidate where there is none.
        settings: Tracking address and the namespace that asks.
        elsewhere: The training runs on a cluster, which reads no folder of this machine.

    Raises:
        RegistryError: If there is no such version, it is restricted to another namespace, an adapter, of another kind
            of model or gone, or MLflow cannot be asked.
    """
    name, _, version = model.partition("@")
    file = sqlite_file(settings)
    if file is not None and not file.is_file():
        if version:
            raise RegistryError(f"{name} is not registered: nothing has been registered here yet.")
        return None
    with clear_errors(settings, f"look up {model}"):
        client = open_client(settings)
        if not version:
            aliases = _aliases(client, name)
            if aliases is None:
                return None
            version = next((each for each in (CHAMPION, CANDIDATE) if each in aliases), CHAMPION)
        found, what = _allowed(client, name, version, settings)
    return _usable(name, found, what, settings, elsewhere)


def served_model(model: str, settings: Settings) -> str:
    """The folder or `user/repo@commit` of a registered `NAME@VERSION`; anything else is given back as it is.

    Args:
        model: Folder, Hub id, or a registered name with a version, a label or an alias.
        settings: Tracking address and the namespace that asks.

    Raises:
        RegistryError: If there is no such version, it is restricted to another namespace or gone, or MLflow cannot be
            asked.
    """
    name, _, version = model.partition("@")
    if not version or "/" in model or Path(model).exists():
        return model
    file = sqlite_file(settings)
    if file is not None and not file.is_file():
        raise RegistryError(f"{name} is not registered: nothing has been registered here yet.")
    with clear_errors(settings, f"look up {model}"):
        found, what = _allowed(open_client(settings), name, version, settings)
    place = place_of(found)
    return place.removeprefix("hf://") if place.startswith("hf://") else str(fetch_source(place, what, settings))


def _allowed(client: Any, name: str, version: str, settings: Settings) -> tuple[Any, str]:
    found = find_version(client, name, version)
    what = f"{name} version {found.version}"
    check_access(access_of_version(client, found), what, settings.namespace)
    return found, what


def _aliases(client: Any, name: str) -> dict[str, str] | None:
    from mlflow.exceptions import MlflowException

    try:
        return dict(client.get_registered_model(name).aliases)
    except MlflowException as error:
        # an unknown name, and one that no registered model can have
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _usable(name: str, found: Any, what: str, settings: Settings, elsewhere: bool) -> RegisteredBase:
    place, tags = place_of(found), found.tags
    version, base = str(found.version), str(tags.get("base_model", ""))
    if place.startswith("hf://"):
        model_id, _, revision = place.removeprefix("hf://").partition("@")
        return RegisteredBase(name, version, model_id, revision or None, base)
    folder = fetch_source(place, what, settings)
    if elsewhere:
        raise RegistryError(
            f"{what} is in the local registry ({folder}), which a cluster cannot read. Publish it to the Hub (HF_REPO "
            "and HF_TOKEN), or run here, without --host."
        )
    if (folder / "adapter_config.json").is_file():
        raise RegistryError(
            f"{what} is an adapter, and a training starts from a whole model. Train it again with "
            "lora.merge_lora_weights=true, or name its base."
        )
    if (folder / "head.json").is_file():
        raise RegistryError(f"{what} has a head and generates no text. Name a model of conversations or its base.")
    return RegisteredBase(name, version, str(folder), None, base)
