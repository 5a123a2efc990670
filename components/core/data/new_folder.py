"""Folders that appear complete or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.core.errors import StorageError


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder beside `target` that takes its place when the block ends well, and is gone when it does not."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise StorageError(f"cannot write into {target.parent}: {error}.") from error
    try:
        yield folder
        folder.chmod(0o755)
        if target.is_dir() and any(target.iterdir()):
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
            target.rename(old)
            folder.rename(target)
            shutil.rmtree(old)
        else:
            folder.rename(target)
    except OSError as error:
        raise StorageError(f"cannot write {target}: {error}.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def link_files(source: Path, target: Path) -> None:
    """Put the files of one folder into another, as hard links where the file system allows."""
    for path in source.iterdir():
        link_file(path, target / path.name)


def link_file(source: Path, target: Path) -> None:
    """Put a file there, as a hard link where the file system allows; what a symbolic link leads to, not the link."""
    # os.link would make another name for the symbolic link itself, which leads nowhere from another folder
    real = source.resolve()
    try:
        os.link(real, target)
    except OSError:
        shutil.copy2(real, target)
