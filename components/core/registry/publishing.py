"""Publishing: a finished model folder goes to the Hub, or to the local registry that stands in for it."""

import logging
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.core.errors import StorageError
from components.core.recipe import RegistryConfig
from components.core.registry.hub import hub_target, upload_model
from components.core.registry.manifest import MANIFEST_FILE, Manifest, parse_manifest
from components.core.registry.model_folder import write_head_folder, write_model_folder
from components.core.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """Where a model can be fetched from; plain values, so that it travels between steps as JSON."""

    uri: str
    """`hf://user/repo@sha`, or the path of a folder of the local registry."""
    revision: str
    """Commit on the Hub; version in the local registry."""
    name: str
    """Registered model name."""
    version: str
    """Commit on the Hub, shortened; version in the local registry."""
    url: str
    """Address to look at: a web page or a file:// address."""
    content_sha256: str = ""
    """Hash of the model folder's content, as in its manifest."""
    weights: str = ""
    """File and sha256 of the weights or the adapter."""


def publish(
    model_dir: Path,
    evaluation_dir: Path,
    dataset_dir: Path,
    registry: RegistryConfig,
    recipe_sections: dict[str, Any],
    settings: Settings,
    output_dir: Path,
) -> Published:
    """Assemble the model folder in `output_dir` and put it where models are kept.

    With HF_REPO and HF_TOKEN that is the Hub, in one commit; without, `<whetstone_home>/registry/<name>/<version>`.
    Publishing the same content again makes no new version.

    Args:
        model_dir: What the training wrote.
        evaluation_dir: What the evaluation wrote.
        dataset_dir: The prepared dataset.
        registry: Name, licence and description.
        recipe_sections: All sections of the recipe, by name.
        settings: Addresses, token and folders.
        output_dir: Becomes the finished model folder.

    Raises:
        StorageError: If an input is missing or broken, or a folder cannot be written.
        RegistryError: If the Hub refuses or cannot be reached; nothing of the model is visible then.
    """
    info = write_model_folder(model_dir, evaluation_dir, dataset_dir, registry, recipe_sections, settings, output_dir)
    return _put(str(info["name"]), registry, settings, output_dir)


def publish_head(
    model_dir: Path,
    evaluation_dir: Path,
    preprocess_dir: Path,
    registry: RegistryConfig,
    settings: Settings,
    output_dir: Path,
) -> Published:
    """The same for a model of the task catalogue, whose recipe is read from what preprocess and finetune wrote.

    Args:
        model_dir: What finetune wrote.
        evaluation_dir: What the evaluation wrote.
        preprocess_dir: What preprocess wrote.
        registry: Name (`registered_model_name`), licence and description.
        settings: Addresses, token and folders.
        output_dir: Becomes the finished model folder.

    Raises:
        StorageError: If an input is missing or broken, or a folder cannot be written.
        RegistryError: If the Hub refuses or cannot be reached; nothing of the model is visible then.
    """
    info = write_head_folder(model_dir, evaluation_dir, preprocess_dir, registry, settings, output_dir)
    return _put(str(info["name"]), registry, settings, output_dir)


def _put(name: str, registry: RegistryConfig, settings: Settings, output_dir: Path) -> Published:
    manifest = parse_manifest((output_dir / MANIFEST_FILE).read_text(encoding="utf-8"), MANIFEST_FILE)
    repo = hub_target(settings)
    if repo is None:
        return _keep_locally(output_dir, manifest, name, settings)
    sha, url = upload_model(output_dir, manifest, registry.private, settings)
    logger.info("Published %s: %s", name, url)
    return Published(f"hf://{repo}@{sha}", sha, name, sha[:12], url, manifest.content_sha256, manifest.weights())


def _keep_locally(folder: Path, manifest: Manifest, name: str, settings: Settings) -> Published:
    shelf = settings.local_registry / name
    try:
        shelf.mkdir(parents=True, exist_ok=True)
        place = _version_with(manifest, shelf)
        if place is not None:
            logger.info("%s already holds this model", place)
        else:
            place = _add_version(folder, manifest, shelf)
            logger.info("Published %s in the local registry: %s", name, place)
    except OSError as error:
        raise StorageError(
            f"cannot write to the local registry {shelf}: {error.strerror or error}. "
            "Free some space there or set WHETSTONE_HOME to another folder."
        ) from error
    return Published(
        str(place), place.name, name, place.name, place.as_uri(), manifest.content_sha256, manifest.weights()
    )


def _version_with(manifest: Manifest, shelf: Path) -> Path | None:
    """The version that already holds this content."""
    for place in _versions(shelf):
        path = place / MANIFEST_FILE
        try:
            there = parse_manifest(path.read_text(encoding="utf-8"), str(path))
        except (FileNotFoundError, StorageError):
            logger.warning("%s is not a complete model folder; it is left alone", place)
            continue
        if there.content_sha256 == manifest.content_sha256:
            return place
    return None


def _versions(shelf: Path) -> list[Path]:
    return sorted((place for place in shelf.iterdir() if place.name.isdigit()), key=lambda place: int(place.name))


def _add_version(folder: Path, manifest: Manifest, shelf: Path) -> Path:
    """Copy a complete folder to the next version number; readers see all of it or nothing."""
    partial = shelf / f".partial-{datetime.now(UTC):%Y%m%d%H%M%S%f}"
    partial.mkdir()
    try:
        for file in [*manifest.files, MANIFEST_FILE]:
            shutil.copyfile(folder / file, partial / file)
        while True:
            place = shelf / str(max((int(known.name) for known in _versions(shelf)), default=0) + 1)
            try:
                # fails when another run has just taken this number: a folder never replaces one that holds files
                return partial.rename(place)
            except OSError:
                if not place.exists():
                    raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
