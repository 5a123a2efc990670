"""The manifest of a model folder: its last file, so that its presence means that the folder is complete."""

import hashlib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from components.core.errors import StorageError

MANIFEST_FILE = "manifest.json"
UNPACK_REMEDY = "Copy the folder again from where it was published, or publish the model again."


class FileEntry(BaseModel):
    """Size in bytes and sha256 of one file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Manifest(BaseModel):
    """Every file of a model folder but the manifest itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    content_sha256: str
    """Hash over all names and hashes: two folders with the same one hold the same model."""
    files: dict[str, FileEntry]
    """By file name; a model folder has no folders inside."""

    def weights(self) -> str:
        """The weights in a line: name and sha256 of their file; of several their number and a hash over all."""
        found = {name: entry.sha256 for name, entry in sorted(self.files.items()) if name.endswith(".safetensors")}
        if len(found) == 1:
            return " ".join(next(iter(found.items())))
        every = "".join(f"{sha256}  {name}\n" for name, sha256 in found.items())
        return f"{len(found)} files {hashlib.sha256(every.encode()).hexdigest()}"


def write_manifest(folder: Path, names: list[str]) -> Manifest:
    """Hash these files of a folder and write the manifest."""
    files = {name: FileEntry(size=(folder / name).stat().st_size, sha256=hash_file(folder / name)) for name in names}
    content = "".join(f"{files[name].sha256}  {name}\n" for name in sorted(files))
    manifest = Manifest(content_sha256=hashlib.sha256(content.encode()).hexdigest(), files=files)
    partial = folder / f".{MANIFEST_FILE}.partial"
    partial.write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    partial.replace(folder / MANIFEST_FILE)
    return manifest


def parse_manifest(text: str, where: str) -> Manifest:
    """Read a manifest.

    Raises:
        StorageError: If the text is not a manifest or names a file outside the folder.
    """
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        raise StorageError(f"{where} is not a manifest of a model folder. {UNPACK_REMEDY}") from error
    outside = [name for name in manifest.files if "/" in name or "\\" in name or name in (".", "..")]
    if outside:
        raise StorageError(f"{where} names {outside[0]!r}, which is not a file of this folder. {UNPACK_REMEDY}")
    return manifest


def verify_checksums(folder: Path) -> Manifest:
    """Compare every file of a model folder with its manifest.

    Raises:
        StorageError: If the manifest is missing, or a file is missing or was changed; the message names them.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise StorageError(f"{folder} has no {MANIFEST_FILE}: it was never finished. {UNPACK_REMEDY}")
    manifest = parse_manifest(path.read_text(encoding="utf-8"), str(path))
    missing = [name for name in manifest.files if not (folder / name).is_file()]
    changed = [
        name
        for name, entry in manifest.files.items()
        if name not in missing
        and ((folder / name).stat().st_size != entry.size or hash_file(folder / name) != entry.sha256)
    ]
    found = [f"missing: {', '.join(missing)}"] if missing else []
    found += [f"changed: {', '.join(changed)}"] if changed else []
    if found:
        raise StorageError(f"{folder} does not match its {MANIFEST_FILE} ({'; '.join(found)}). {UNPACK_REMEDY}")
    return manifest


def hash_file(path: Path) -> str:
    """Sha256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
