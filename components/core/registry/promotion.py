"""Who the champion is: moved by a run that was found better, by `promote` and by `rollback`."""

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from components.core.errors import RegistryError
from components.core.registry.access import check_access
from components.core.registry.champion import find_version
from components.core.registry.mlflow_store import clear_errors, open_client, sqlite_file
from components.core.registry.names import CANDIDATE, CHAMPION, LOCAL_SCHEME, place_of
from components.core.registry.owners import access_of_version
from components.core.settings import Settings

logger = logging.getLogger(__name__)

HISTORY_TAG = "whetstone.champions"
"""Tag of a registered model: the versions that were champion before, the last one last, as a JSON list."""
SINCE_TAG = "whetstone.champion_since"
"""Tag of a version that is or was champion: when it became so first."""
_LONGEST_HISTORY = 100


@dataclass(frozen=True)
class Moved:
    """What became of the alias `champion`."""

    name: str
    version: str
    """The champion now."""
    previous: str | None
    """The champion before; the same version when nothing was moved."""
    headline: str
    """The verdict on the champion, in a line."""
    passed: bool
    """The gate found it better; False for one that passed because the gate was off."""


def move_champion(client: Any, name: str, version: str) -> str | None:
    """Give the alias `champion` to a version, and remember who had it; returns that one.

    The memory is written first: a process that dies in between leaves a champion that also stands in it, which
    `rollback` passes over.
    """
    model = client.get_registered_model(name)
    current = model.aliases.get(CHAMPION)
    if current is not None and str(current) != version:
        _remember(client, name, [*_history(model), str(current)])
    since = datetime.now(UTC).isoformat(timespec="seconds")
    if SINCE_TAG not in client.get_model_version(name, version).tags:
        client.set_model_version_tag(name, version, SINCE_TAG, since)
    client.set_registered_model_alias(name, CHAMPION, version)
    return None if current is None else str(current)


def advance_champion(client: Any, name: str, version: str) -> None:
    """Make a newer version champion; a result that is registered again takes nothing back.

    Neither does it undo a `rollback`: a version becomes champion by itself only once.
    """
    current = client.get_registered_model(name).aliases.get(CHAMPION)
    if current is not None and int(current) >= int(version):
        return
    if SINCE_TAG in client.get_model_version(name, version).tags:
        logger.warning("%s version %s was champion before and is not made it again: use `promote`", name, version)
        return
    move_champion(client, name, version)


def promote(name: str, version: str | None, settings: Settings) -> Moved:
    """Make a version the champion.

    Args:
        name: Registered model name.
        version: Number, version label or alias; the candidate when left out.
        settings: Tracking address and the namespace that asks.

    Raises:
        RegistryError: If there is no such version, it is restricted to another namespace, its folder is gone, or
            MLflow cannot be asked.
    """
    with clear_errors(settings, f"promote {name}"):
        client = open_client(settings)
        found = find_version(client, name, version or CANDIDATE)
        _check_usable(client, found, settings)
        return _moved(found, move_champion(client, name, str(found.version)))


def rollback(name: str, settings: Settings) -> Moved:
    """Give `champion` back to the version that had it before; versions that were deleted since are passed over.

    Raises:
        RegistryError: If the name is not registered or remembers no earlier champion; if that one is restricted to
            another namespace or its folder is gone; or if MLflow cannot be asked.
    """
    with clear_errors(settings, f"roll {name} back"):
        client = open_client(settings)
        model = _registered(client, name)
        current = model.aliases.get(CHAMPION)
        history = [each for each in _history(model) if each != str(current)]
        alive = {str(each.version): each for each in client.search_model_versions(f"name = '{name}'")}
        while history and history[-1] not in alive:
            history.pop()
        if not history:
            now = f"version {current} is champion and none was" if current else "none is champion and none was"
            raise RegistryError(f"{name} has nothing to go back to: {now} before. `promote {name}@VERSION` names one.")
        found = find_version(client, name, history[-1])
        _check_usable(client, found, settings)
        client.set_registered_model_alias(name, CHAMPION, str(found.version))
        _remember(client, name, history[:-1])
        return _moved(found, None if current is None else str(current))


def _moved(version: Any, previous: str | None) -> Moved:
    passed = version.tags.get("verdict") == "passed" and version.tags.get("outcome") == "better"
    return Moved(version.name, str(version.version), previous, version.tags.get("headline", ""), passed)


def _check_usable(client: Any, version: Any, settings: Settings) -> None:
    what = f"{version.name} version {version.version}"
    check_access(access_of_version(client, version), what, settings.namespace)
    source = place_of(version)
    # with a server the folder may be on another machine
    if sqlite_file(settings) is None or not source.startswith(LOCAL_SCHEME):
        return
    folder = settings.local_registry / source.removeprefix(LOCAL_SCHEME)
    if not folder.is_dir():
        raise RegistryError(f"{what} cannot be champion: its folder {folder} is gone. Bring it back, or name another.")


def _registered(client: Any, name: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise RegistryError(
            f"{name} is not registered. `python -m llm-pipelines.registry list` says what is."
        ) from error


def _history(model: Any) -> list[str]:
    """Earlier champions; one that is not ours to read counts as none."""
    try:
        found = json.loads(model.tags.get(HISTORY_TAG, "[]"))
    except ValueError:
        found = []
    return [str(each) for each in found] if isinstance(found, list) else []


def _remember(client: Any, name: str, history: list[str]) -> None:
    client.set_registered_model_tag(name, HISTORY_TAG, json.dumps(history[-_LONGEST_HISTORY:]))
