"""The base image of a trial: the real one where it can be pulled, else a Debian that stands in for it."""

import os
import subprocess
from pathlib import Path

from components.core.errors import StorageError
from images.builder import Builder

BASE_IMAGE = "docker.io/library/python:3.11-slim"
_PACKAGES = "python3,python3-venv,ca-certificates"


def provide_base(buildah: Builder, folder: Path) -> str:
    """The name of a base image that is in the storage now.

    Args:
        buildah: With its own storage.
        folder: For the stand-in's files.

    Raises:
        StorageError: If there is neither the real one nor a stand-in.
    """
    name = os.environ.get("BASE_IMAGE") or BASE_IMAGE
    if not subprocess.run(buildah.command("pull", "-q", name), capture_output=True).returncode:
        print(f"base: {name}")
        return name
    if name != BASE_IMAGE:
        raise StorageError(f"cannot pull {name}, and only {BASE_IMAGE} has a stand-in. Leave BASE_IMAGE out.")
    stand_in = "A debootstrapped Debian 12 with its own Python 3.11 STANDS IN for it."
    print(f"base: {name} cannot be pulled here. {stand_in}", flush=True)
    _import_debian(buildah, folder / "debian", name)
    return name


def _import_debian(buildah: Builder, root: Path, name: str) -> None:
    _run(["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(root)])
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    container = _run(buildah.command("from", "scratch")).strip()
    _run(buildah.command("add", "-q", container, str(root), "/"))
    _run(buildah.command("config", "--env", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", container))
    _run(buildah.command("commit", "-q", "--rm", container, name))
    subprocess.run(["rm", "-rf", str(root)], check=True)


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise StorageError(f"{command[0]} failed: {' '.join(last)}. The trial needs Debian's packages to be reachable.")
    return done.stdout
