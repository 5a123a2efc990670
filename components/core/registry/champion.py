"""Finding registered models again: the champion's folder, and where a version came from."""

import logging
from pathlib import Path
from typing import Any

from components.core.errors import RegistryError
from components.core.registry.access import check_access, read_access
from components.core.registry.hub import download_model
from components.core.registry.mlflow_store import clear_errors, open_client, sqlite_file
from components.core.registry.model_folder import read_model_folder
from components.core.registry.names import CHAMPION, LABEL_TAG, LOCAL_SCHEME, place_of
from components.core.registry.owners import access_of_version
from components.core.settings import Settings

logger = logging.getLogger(__name__)


def champion_folder(name: str, settings: Settings) -> Path | None:
    """The model folder of the registered champion, on this machine; None when there is no champion yet.

    Raises:
        RegistryError: If MLflow cannot be asked, or a champion is registered but its folder is gone or restricted to
            another namespace. That stops the run: to go on without the comparison would let a worse model replace it.
        StorageError: If the folder is there but is not complete.
    """
    file = sqlite_file(settings)
    if file is not None and not file.is_file():
        logger.info("No champion of %s yet: nothing has been registered here", name)
        return None
    with clear_errors(settings, f"look up the champion of {name}"):
        client = open_client(settings)
        version = _by_alias(client, name, CHAMPION)
        if version is not None:
            check_access(access_of_version(client, version), f"the champion of {name}", settings.namespace)
    if version is None:
        logger.info("No champion of %s yet", name)
        return None
    logger.info("Champion of %s is version %s (%s)", name, version.version, place_of(version))
    return read_model_folder(fetch_source(place_of(version), f"the champion of {name}", settings)).path


def fetch_source(source: str, what: str, settings: Settings) -> Path:
    """The folder behind a registered version's source, downloaded at need.

    Raises:
        RegistryError: If it is not there any more, or says that it is restricted to another namespace.
    """
    folder = download_model(source, settings) if source.startswith("hf://") else _kept_folder(source, what, settings)
    check_access(read_access(folder), what, settings.namespace)
    return folder


def _kept_folder(source: str, what: str, settings: Settings) -> Path:
    folder = settings.local_registry / source.removeprefix(LOCAL_SCHEME)
    if not source.startswith(LOCAL_SCHEME) or not folder.is_dir():
        raise RegistryError(
            f"{what} is registered as {source}, but {folder} is gone. Bring the folder back (WHETSTONE_HOME names "
            "where it was), move the alias `champion` to another version, or set gate.champion=ignore."
        )
    return folder


def lineage(name: str, version: str, settings: Settings) -> dict[str, Any]:
    """Where a registered version came from.

    Args:
        name: Registered model name.
        version: Number, version label, or an alias such as `champion`.
        settings: Tracking address.

    Returns:
        name, version, label, description, aliases, access (restricted, namespace), uri, verdict, run (id, training_run,
        experiment, recorded in ms), base_model (id, revision), dataset (id, revision, fingerprint), recipe
        (`section.key` to text), metrics, git_commit, content_sha256 and weights (file and sha256).

    Raises:
        RegistryError: If there is no such version, it is restricted to another namespace, or MLflow cannot be asked.
    """
    with clear_errors(settings, f"look up {name} version {version}"):
        client = open_client(settings)
        found = find_version(client, name, version)
        access = access_of_version(client, found)
        check_access(access, f"{name} version {found.version}", settings.namespace)
        run = client.get_run(found.run_id)
    tags = run.data.tags
    return {
        "name": name,
        "version": str(found.version),
        "label": found.tags.get(LABEL_TAG, ""),
        "description": found.description or "",
        "aliases": sorted(found.aliases),
        "access": access.model_dump(),
        "uri": place_of(found),
        "verdict": tags.get("headline", ""),
        "run": {
            "id": run.info.run_id,
            "training_run": tags.get("training_run", ""),
            "experiment": run.info.experiment_id,
            "recorded": run.info.start_time,
        },
        "base_model": {"id": tags.get("base_model", ""), "revision": tags.get("base_model_revision", "")},
        "dataset": {
            "id": tags.get("dataset", ""),
            "revision": tags.get("dataset_revision", ""),
            "fingerprint": tags.get("dataset_fingerprint", ""),
        },
        "recipe": dict(sorted(run.data.params.items())),
        "metrics": {key: value for key, value in sorted(run.data.metrics.items()) if not key.startswith("train/")},
        "git_commit": tags.get("git_commit", ""),
        "content_sha256": tags.get("content_sha256", ""),
        "weights": tags.get("weights", ""),
    }


def find_version(client: Any, name: str, version: str) -> Any:
    """A registered version by its number, its label or an alias.

    Raises:
        RegistryError: If there is none; the message says which there are.
    """
    found = _by_number(client, name, version) if version.isdigit() else _by_alias(client, name, version)
    if found is None:
        versions = client.search_model_versions(f"name = '{name}'")
        labelled = [v for v in versions if v.tags.get(LABEL_TAG) == version]
        if labelled:
            # searched ones lack their aliases
            return client.get_model_version(name, str(max(labelled, key=lambda v: int(v.version)).version))
        known = [str(v.version) for v in versions]
        have = f"has the versions {', '.join(sorted(known, key=int))}" if known else "is not registered"
        raise RegistryError(f"{name} has no version {version}: {name} {have}. Name one that is there.")
    return found


def _by_alias(client: Any, name: str, alias: str) -> Any | None:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        # an unknown model and an unknown alias
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _by_number(client: Any, name: str, version: str) -> Any | None:
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version(name, version)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
