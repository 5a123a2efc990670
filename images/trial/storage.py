"""buildah with a storage of its own, which is gone after the trial."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.core.errors import ConfigError
from images.builder import Builder

_TOOLS = ("buildah", "debootstrap")


def install_tools() -> None:
    """Install what is missing, where that can be done without asking.

    Raises:
        ConfigError: If this is not root, or a tool is missing and cannot be installed.
    """
    if os.getuid():
        raise ConfigError("images-test mounts file systems and changes users: run it as root (sudo make images-test).")
    missing = [tool for tool in _TOOLS if not shutil.which(tool)]
    if missing and shutil.which("apt-get"):
        options = ["-y", "-qq", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0"]
        subprocess.run(["apt-get", "update", "-qq"], capture_output=True)
        install = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", *options, *missing]
        subprocess.run(install, capture_output=True)
    missing = [tool for tool in missing if not shutil.which(tool)]
    if missing:
        raise ConfigError(f"images-test needs {' and '.join(missing)} (Debian: apt-get install {' '.join(missing)}).")


@contextmanager
def own_storage() -> Iterator[tuple[Builder, Path]]:
    """buildah, and a folder for the trial's files; both are emptied in the end."""
    with tempfile.TemporaryDirectory(prefix="whetstone-images-", dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
        # buildah's own working files go with the rest
        os.environ["TMPDIR"] = folder
        driver = os.environ.get("STORAGE_DRIVER") or _driver(Path(folder))
        buildah = _with_driver(Path(folder), driver)
        try:
            yield buildah, Path(folder)
        finally:
            subprocess.run(buildah.command("rm", "--all"), capture_output=True)


def _driver(folder: Path) -> str:
    """`overlay` where the kernel can, which saves a copy per layer; `vfs` works everywhere."""
    works = subprocess.run(_with_driver(folder, "overlay").command("info"), capture_output=True).returncode == 0
    return "overlay" if works else "vfs"


def _with_driver(folder: Path, driver: str) -> Builder:
    root, run = folder / f"{driver}-storage", folder / f"{driver}-run"
    return Builder("buildah", ("--storage-driver", driver, "--root", str(root), "--runroot", str(run)))


def mounted(buildah: Builder, image: str) -> Path:
    """Files of an image in a throw-away container, which may be written to."""
    command = buildah.command("from", "--pull-never", image)
    container = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    shown = subprocess.run(buildah.command("mount", container), capture_output=True, text=True, check=True)
    return Path(shown.stdout.strip())
