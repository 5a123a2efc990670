"""The two keys of an endpoint: made, rotated and compared; the front reads their hashes only."""

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from components.core.deployment.endpoints.record import write_private
from components.core.errors import ConfigError, StorageError

Which = Literal["primary", "secondary"]
NAMES: tuple[Which, ...] = get_args(Which)
HASHES_FILE = "keys.json"
_KEYS_FOLDER = "keys"
_INTERNAL_FOLDER = "internal"
KEY_VARIABLE = "ENDPOINT_KEY"


def make_keys(folder: Path, kept: bool) -> dict[Which, str]:
    """Make both keys and what the front compares callers' keys with.

    Args:
        folder: Of the endpoint.
        kept: Also in files of their own (0600), so that they can be shown again; else they are told once.
    """
    made = {name: _new_key() for name in NAMES}
    if kept:
        (folder / _KEYS_FOLDER).mkdir(mode=0o700)
        for name, key in made.items():
            write_private(folder / _KEYS_FOLDER / name, key)
    _write_hashes(folder, {name: hash_key(key) for name, key in made.items()})
    return made


def rotate_key(folder: Path, which: Which) -> str:
    """Replace one key; the old one is refused from the next request on, the other one stays.

    Raises:
        StorageError: If the hashes of the keys are gone.
    """
    key = _new_key()
    hashes = read_hashes(folder)
    if (folder / _KEYS_FOLDER).is_dir():
        write_private(folder / _KEYS_FOLDER / which, key)
    _write_hashes(folder, hashes | {which: hash_key(key)})
    return key


def shown_keys(folder: Path) -> dict[Which, str]:
    """Both keys.

    Raises:
        ConfigError: If they were told once and not kept.
    """
    try:
        return {name: (folder / _KEYS_FOLDER / name).read_text(encoding="utf-8") for name in NAMES}
    except OSError as error:
        raise ConfigError(
            f"the keys of {folder.name} were shown once and are not kept on disk. Set {KEY_VARIABLE}, or make a new "
            f"one: python -m llm-pipelines.endpoint keys rotate {folder.name} primary"
        ) from error


def read_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of each key; they are random, so a plain hash gives nothing away.

    Raises:
        StorageError: If the file is missing or damaged.
    """
    path = folder / HASHES_FILE
    try:
        return {name: str(value) for name, value in json.loads(path.read_bytes()).items() if name in NAMES}
    except (OSError, ValueError, AttributeError) as error:
        raise StorageError(f"{path} is missing or damaged: rotate both keys, or delete the endpoint.") from error


def hash_key(key: str) -> str:
    """SHA-256 of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def matching_key(given: str, hashes: Mapping[str, str]) -> str | None:
    """Which of the keys a caller has, `primary` or `secondary`; none for another one."""
    digest = hash_key(given)
    # every key is compared in full, so that the time tells nothing about which one was near
    matches = [name for name, value in hashes.items() if hmac.compare_digest(digest, value)]
    return matches[0] if matches else None


def make_internal_key(folder: Path) -> Path:
    """A key between front and deployments, so that nobody on the machine walks around the front.

    Returns:
        The folder with the file `primary`, as a deployment's API_KEYS_DIR.
    """
    path = folder / _INTERNAL_FOLDER
    path.mkdir(mode=0o700)
    write_private(path / "primary", _new_key())
    return path


def internal_folder(folder: Path) -> Path:
    """Where the key between front and deployments is."""
    return folder / _INTERNAL_FOLDER


def read_internal_key(folder: Path) -> str:
    """The key between front and deployments.

    Raises:
        StorageError: If it is gone.
    """
    path = folder / _INTERNAL_FOLDER / "primary"
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path} cannot be read ({error}). Delete the endpoint and create it again.") from error


def _new_key() -> str:
    return secrets.token_urlsafe(32)


def _write_hashes(folder: Path, hashes: Mapping[str, str]) -> None:
    write_private(folder / HASHES_FILE, json.dumps(dict(hashes), indent=2) + "\n")
