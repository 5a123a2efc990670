"""A name in a recipe as a path of this machine."""

import re
from pathlib import Path

from components.core.errors import DataError, StorageError


def parse_path(name: str, key: str, supported: str) -> tuple[Path, bool]:
    """The path, and whether something is there, be it a broken link.

    Args:
        name: As the user wrote it; no http(s) address.
        key: Of the recipe, for messages.
        supported: What may stand there, for messages.

    Raises:
        StorageError: If it cannot be a path.
        DataError: If it is an address of another kind than http(s).
    """
    scheme = re.match(r"([a-z][a-z0-9+.-]*)://", name, re.IGNORECASE)
    if scheme:
        raise DataError(f"{scheme.group(1)}:// addresses are not supported as {key}; use {supported}.")
    try:
        path = Path(name).expanduser()
        return path, path.is_symlink() or path.exists()
    except (OSError, ValueError, RuntimeError) as error:
        raise StorageError(f"cannot read {name[:200]!r}: {error}. Check {key}.") from error
