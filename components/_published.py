"""The published components: one YAML file for each name and version, and an index with their digests."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from components.core.errors import ConfigError, StorageError

CATALOGUE = Path(__file__).parent / "catalogue"
"""Holds index.json and `<version>/<name>.yaml`."""
INDEX = "index.json"
ENVIRONMENT = Path(__file__).parent / "env.yaml"


@dataclass(frozen=True)
class PublishedComponent:
    """A line of the index."""

    name: str
    version: str
    file: str
    """Below the folder of the index."""
    digest: str
    """sha256:..., of the file's bytes."""
    description: str


def environment() -> dict[str, str]:
    """Name and version of the environment that all components share."""
    found: dict[str, str] = yaml.safe_load(ENVIRONMENT.read_text(encoding="utf-8"))
    return found


def read_index(folder: Path = CATALOGUE) -> list[PublishedComponent]:
    """All published components, by name, the newest version of each first.

    Raises:
        StorageError: If there is no index, or it is damaged.
    """
    path = folder / INDEX
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["components"]
        found = [PublishedComponent(**entry) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{path} is missing or no index of components. Write it with `make components`.") from error
    return sorted(found, key=lambda each: (each.name, [-part for part in _parts(each.version)]))


def find_component(name: str, version: str | None = None, folder: Path = CATALOGUE) -> Path:
    """The file of a component, for `kfp.components.load_component_from_file`.

    Args:
        name: Such as `preprocess_classification_multi_label`.
        version: None takes the newest.
        folder: Holds the index.

    Raises:
        ConfigError: If there is no such component or version.
        StorageError: If the file is not the one that was published.
    """
    index = read_index(folder)
    same_name = [each for each in index if each.name == name]
    if not same_name:
        near = get_close_matches(name, sorted({each.name for each in index}), n=1)
        hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(sorted({e.name for e in index}))}."
        raise ConfigError(f"there is no component {name}. {hint}")
    matching = [each for each in same_name if version in (None, each.version)]
    if not matching:
        raise ConfigError(
            f"component {name} has no version {version}. There are {', '.join(each.version for each in same_name)}."
        )
    path = folder / matching[0].file
    if not path.is_file() or _digest(path.read_bytes()) != matching[0].digest:
        raise StorageError(
            f"{path} is not the file that was published: its digest is not {matching[0].digest}. Fetch it again."
        )
    return path


def publish(folder: Path = CATALOGUE, replace: bool = False) -> list[PublishedComponent]:
    """Write every component of this checkout under the version of its environment, and the index last.

    Args:
        folder: Holds the index.
        replace: Write this version again although it is published with other content.

    Raises:
        ConfigError: If this version is published with other content and must not be replaced.
        StorageError: If the folder cannot be written.
    """
    version = environment()["version"]
    before = read_index(folder) if (folder / INDEX).is_file() else []
    made = _compile_all(version)
    known = {each.name: each.digest for each in before if each.version == version}
    changed = [each.name for each, _ in made if known.get(each.name, each.digest) != each.digest]
    if changed and not replace:
        raise ConfigError(
            f"version {version} is published with other content of {', '.join(changed)}. Raise `version` in "
            f"{ENVIRONMENT.name}, or replace it (--replace) where nobody uses it yet."
        )
    kept = [each for each in before if each.version != version]
    try:
        (folder / version).mkdir(parents=True, exist_ok=True)
        for entry, content in made:
            (folder / entry.file).write_bytes(content)
        _write_index(folder, [*kept, *(entry for entry, _ in made)])
    except OSError as error:
        raise StorageError(f"cannot write the components to {folder}: {error.strerror or error}.") from error
    return [entry for entry, _ in made]


def _compile_all(version: str) -> list[tuple[PublishedComponent, bytes]]:
    import tempfile

    from kfp import compiler

    from components._task_components import task_components

    made = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, make in sorted(task_components().items()):
            component = make()
            path = Path(scratch) / f"{name}.yaml"
            compiler.Compiler().compile(component, str(path))
            content = path.read_bytes()
            about = str(component.component_spec.description or "").strip().splitlines()[0]
            made.append((PublishedComponent(name, version, f"{version}/{name}.yaml", _digest(content), about), content))
    return made


def _write_index(folder: Path, entries: Sequence[PublishedComponent]) -> None:
    ordered = sorted(entries, key=lambda each: (each.name, _parts(each.version)))
    content: dict[str, Any] = {"environment": environment(), "components": [asdict(each) for each in ordered]}
    (folder / INDEX).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _parts(version: str) -> list[int]:
    return [int(part) if part.isdigit() else 0 for part in version.split(".")]


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
