"""Whose a registered name is: the tags of MLflow's registered models."""

import logging
from typing import Any

from components.core.errors import RegistryError
from components.core.registry.access import Access, access_of, check_access, write_access
from components.core.registry.names import LOCAL_SCHEME
from components.core.settings import Settings

logger = logging.getLogger(__name__)


def take_name(client: Any, name: str, access: Access, description: str = "") -> Access:
    """Make the registered model at need, and say who may use the version that is about to be added.

    A name belongs to the namespace that registered under it first. Once it is restricted, so is every later version;
    only `unrestrict` lifts that.

    Args:
        client: Of MLflow.
        name: Registered model name.
        access: What the run asks for.
        description: Of a new registered model.

    Raises:
        RegistryError: If the name is restricted to another namespace, or is to be although it is another's.
    """
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, tags=access.tags(), description=description or None)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    held = access_of(client.get_registered_model(name).tags)
    check_access(held, f"the name {name}", access.namespace)
    if not access.restricted or held.restricted:
        return Access(restricted=access.restricted or held.restricted, namespace=access.namespace)
    if held.namespace not in ("", access.namespace):
        raise RegistryError(
            f"the name {name} belongs to namespace {held.namespace} and cannot be restricted to {access.namespace}. "
            "Choose another registry.name."
        )
    mark_name(client, name, access)
    return access


def mark_name(client: Any, name: str, access: Access) -> None:
    """Write who may use a registered model into its tags."""
    for key, value in access.tags().items():
        client.set_registered_model_tag(name, key, value)


def mark_folder(source: str, access: Access, settings: Settings) -> bool:
    """Write who may use a published model beside its files; a commit on the Hub cannot be changed, and is left.

    Args:
        source: As MLflow knows the model.
        access: Who may use it.
        settings: Place of the local registry.

    Returns:
        Whether the files say so now.

    Raises:
        StorageError: If the folder cannot be written.
    """
    folder = settings.local_registry / source.removeprefix(LOCAL_SCHEME)
    if not source.startswith(LOCAL_SCHEME) or not folder.is_dir():
        logger.warning("%s itself still says what it said: publish the model again to change that", source)
        return False
    write_access(folder, access)
    return True


def access_of_version(client: Any, version: Any) -> Access:
    """Who may use a registered version: its own tags, or those of its name where these are stricter."""
    own = access_of(version.tags)
    held = access_of(client.get_registered_model(version.name).tags)
    return held if held.restricted else own
