"""Where converted models are kept: one folder per model and library version, complete or not there at all."""

import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from llm_endpoint.engines.openvino.export import MODEL_FILE, WEIGHTS_FILE, Precision
from llm_endpoint.errors import ModelError

logger = logging.getLogger(__name__)

FORMAT = 1
"""Raised whenever the conversion changes, so that older conversions are not served any more."""
RECORD_FILE = "conversion.json"
"""How the conversion ended; written last."""
PARTIAL = ".partial-"
ABANDONED_SECONDS = 24 * 3600
LIBRARIES = ("openvino", "openvino-genai", "transformers")
PIECE_BYTES = 2**25
MODEL_FILES = ("*.safetensors", "*.safetensors.index.json", "config.json", "adapter_config.json")


def fingerprint(folder: Path, base_folder: Path | None, precision: Precision, context_length: int) -> str:
    """Hash what a conversion depends on: the weights and configuration of a model, the libraries, the precision.

    Raises:
        ModelError: If a file cannot be read.
    """
    versions = {name: version(name) for name in LIBRARIES}
    parts: list[Any] = [FORMAT, versions, precision, context_length]
    try:
        parts += [_file_hashes(each) for each in (folder, base_folder) if each is not None]
    except OSError as error:
        raise ModelError(f"cannot read {error.filename}: {error.strerror}. Check the model folder.") from error
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def read_entry(cache: Path, name: str) -> tuple[Path, dict[str, Any]] | None:
    """Find a conversion; a broken one is removed, so that it will be made again.

    Returns:
        Its folder and its record, whose `refused` says why there is no model in it.
    """
    folder = cache / name
    if not folder.exists():
        return None
    try:
        record = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
        if "refused" in record or record["files"] == _sizes(folder):
            return folder, record
        problem = "its files have other sizes"
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = type(error).__name__
    logger.warning("The converted model in %s is broken (%s) and will be made again", folder, problem)
    remove_entry(folder)
    return None


def remove_entry(folder: Path) -> None:
    """Take a conversion away; who has it open keeps it."""
    grave = folder.with_name(f"{PARTIAL}{folder.name[:8]}-{os.getpid()}-{time.monotonic_ns()}")
    try:
        folder.rename(grave)  # at once, so that nobody finds half of it
        shutil.rmtree(grave)
    except OSError as error:
        logger.warning("Cannot remove %s: %s", folder, error.strerror)


def make_partial(cache: Path) -> Path:
    """Make a folder to convert into: in the cache, or a temporary one where the cache cannot be written."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        for left in cache.glob(f"{PARTIAL}*"):
            if time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
        return Path(tempfile.mkdtemp(prefix=PARTIAL, dir=cache))
    except OSError as error:
        logger.warning("%s cannot be written (%s): the model is converted for this run only", cache, error.strerror)
        return Path(tempfile.mkdtemp(prefix="openvino-"))


def publish(partial: Path, cache: Path, name: str, record: dict[str, Any]) -> Path:
    """Complete a conversion and give it its name.

    Returns:
        The folder that holds it now: the entry, or `partial` itself when that lies outside the cache.
    """
    if "refused" not in record:
        record = {**record, "files": _sizes(partial)}
    (partial / RECORD_FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if partial.parent != cache:
        return partial
    for path in partial.iterdir():  # on disk before the rename is: a crash must not leave an entry of zeros
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    try:
        partial.chmod(0o755)
        partial.rename(cache / name)
    except OSError:
        if read_entry(cache, name) is None:
            partial.rename(cache / name)  # what was there was broken, and is gone now
        else:
            shutil.rmtree(partial, ignore_errors=True)  # another process was first
    return cache / name


def _sizes(folder: Path) -> dict[str, int]:
    return {name: (folder / name).stat().st_size for name in (MODEL_FILE, WEIGHTS_FILE)}


def _file_hashes(folder: Path) -> dict[str, str]:
    known = _manifest(folder)
    hashes = {}
    for path in sorted({path for pattern in MODEL_FILES for path in folder.glob(pattern)}):
        entry = known.get(path.name)
        state = path.stat()
        if entry and entry["size"] == state.st_size and state.st_mtime_ns <= entry["written"]:
            hashes[path.name] = entry["sha256"]
        elif path.is_symlink() and re.fullmatch("[0-9a-f]{64}", path.resolve().name):
            hashes[path.name] = path.resolve().name  # the Hub's cache calls large files by their sha256
        else:
            hashes[path.name] = _sha256(path, state.st_size)
    return hashes


def _sha256(path: Path, size: int) -> str:
    """Hash in large pieces: between two of them, other threads may keep the interpreter for milliseconds."""
    digest = hashlib.sha256()
    piece = memoryview(bytearray(min(size, PIECE_BYTES) or 1))
    with path.open("rb", buffering=0) as stream:
        while count := stream.readinto(piece):
            digest.update(piece[:count])
    return digest.hexdigest()


def _manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Checksums by file name; `written` tells which files are older than the manifest, and so covered by it."""
    path = folder / "manifest.json"
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
        written = path.stat().st_mtime_ns
        return {name: {"size": e["size"], "sha256": e["sha256"], "written": written} for name, e in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # a model of the Hub has none; the hashes of its files tell the same
