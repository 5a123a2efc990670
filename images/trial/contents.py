"""What an image must not hold: compilers, caches, installers, other people's files, secrets."""

import json
import mmap
import os
import stat
from collections.abc import Iterator
from pathlib import Path

_COMPILERS = {"gcc", "g++", "cc", "c++", "clang", "clang++", "tcc", "ld", "make", "cmake", "nvcc", "rustc", "go"}
_PROGRAM_FOLDERS = {"bin", "sbin", "libexec"}
_OWNERS = {(0, 0), (10001, 10001)}
_WRITABLE = "var/lib/whetstone"


def file_problems(root: Path, base: Path, variant: str) -> list[str]:
    """What is wrong with the files of an image; what came with the base image is judged only for compilers.

    Args:
        root: The image's files.
        base: The base image's files.
        variant: `cpu` or `cuda`.
    """
    found = []
    for path, state in _files(root):
        name = path.as_posix()
        if path.name in _COMPILERS and path.parent.name in _PROGRAM_FOLDERS and not stat.S_ISDIR(state.st_mode):
            found.append(f"compiler or build tool /{name}")
        if ".cache/pip" in name or name.endswith("site-packages/pip") and name.startswith("opt/venv"):
            found.append(f"installer or its cache /{name}")
        if variant == "cpu" and path.name == "nvidia" and path.parent.name == "site-packages":
            found.append(f"CUDA libraries /{name}")
        if not os.path.lexists(base / path):
            found += [f"{problem} /{name}" for problem in _own_problems(path, state)]
    return found + [f"no byte code of /{path}" for path in _not_compiled(root)]


def _files(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for folder, folders, names in os.walk(root):
        for name in (*folders, *names):
            path = Path(folder, name)
            yield path.relative_to(root), path.lstat()


def _own_problems(path: Path, state: os.stat_result) -> Iterator[str]:
    if (state.st_uid, state.st_gid) not in _OWNERS:
        yield f"owner {state.st_uid}:{state.st_gid} of"
    if not stat.S_ISDIR(state.st_mode) and state.st_mode & (stat.S_ISUID | stat.S_ISGID):
        yield "setuid or setgid"
    others_write = state.st_mode & 0o002 and not stat.S_ISLNK(state.st_mode)
    if path.as_posix() != _WRITABLE and (state.st_uid == 10001 or others_write):
        yield "the process may change"


def _not_compiled(root: Path) -> Iterator[Path]:
    for path in (root / "app").rglob("*.py"):
        if not list((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc")):
            yield path.relative_to(root)


def layer_sizes(pushed: Path) -> list[int]:
    """Bytes of each layer, uncompressed, the base's first, of an image in `dir:` form."""
    manifest = json.loads((pushed / "manifest.json").read_text(encoding="utf-8"))
    return [layer["size"] for layer in manifest["layers"]]


def blobs_with(pushed: Path, text: str) -> list[str]:
    """Names of the layers and the configuration that hold a text.

    Args:
        pushed: An image in `dir:` form, its layers as plain tar files.
        text: Looked for in every byte, also in files that a later layer hides.
    """
    return [path.name for path in sorted(pushed.iterdir()) if _holds(path, text.encode())]


def _holds(path: Path, text: bytes) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(text) >= 0
