"""The program that builds and pushes: docker, podman or buildah, whichever is there."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.core.errors import ConfigError, StorageError
from components.core.image_names import image_setting
from images.catalogue import ROOT, Image

BUILDERS = ("docker", "podman", "buildah")
PASSED_ON = ("BASE_IMAGE", "TORCH_CPU_INDEX")
"""Build arguments that are given when the environment has them."""


@dataclass(frozen=True)
class Builder:
    """One of BUILDERS with the options that stand before its command."""

    program: str
    options: tuple[str, ...] = ()

    def command(self, *arguments: str) -> list[str]:
        """A command line of the program."""
        return [self.program, *self.options, *arguments]

    def build(self, image: Image, variant: str, context: Path = ROOT, more: Sequence[str] = ()) -> str:
        """Build one image; its name.

        Args:
            image: What to build.
            variant: `cpu` or `cuda`.
            context: Folder with the sources.
            more: Further options; a build argument given here wins.

        Raises:
            StorageError: If the build fails; its output has been shown.
        """
        name = image.name(variant)
        given = {"VERSION": image_setting("TAG"), "GIT_COMMIT": git_commit()}
        given |= {"VARIANT": variant} if image.has_torch else {}
        passed_on = PASSED_ON if image.has_torch else PASSED_ON[:1]
        given |= {key: os.environ[key] for key in passed_on if key in os.environ}
        options = [part for key, value in given.items() for part in ("--build-arg", f"{key}={value}")]
        if self.program != "docker":
            # the OCI format has no health checks
            options += ["--format", "docker"]
        file = ["--file", str(context / image.dockerfile), "--tag", name]
        if subprocess.run(self.command("build", *options, *more, *file, str(context))).returncode:
            raise StorageError(f"cannot build {name} with {self.program}. Its own message stands above.")
        return name

    def push(self, name: str) -> str:
        """Push an image; its digest.

        Raises:
            StorageError: If the registry does not take it.
        """
        with tempfile.TemporaryDirectory() as folder:
            digest_file = Path(folder) / "digest"
            asked = [] if self.program == "docker" else ["--digestfile", str(digest_file)]
            if subprocess.run(self.command("push", *asked, name)).returncode:
                registry = name.partition("/")[0]
                advice = f"Build it first (make images), and log in: {self.program} login {registry}"
                raise StorageError(f"cannot push {name}. {advice}")
            return digest_file.read_text(encoding="utf-8") if asked else self._docker_digest(name)

    def _docker_digest(self, name: str) -> str:
        command = self.command("image", "inspect", "--format", r'{{join .RepoDigests "\n"}}', name)
        digests = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        repository = name.rpartition(":")[0]
        return next(digest.partition("@")[2] for digest in digests if digest.startswith(f"{repository}@"))


def find_builder() -> Builder:
    """The builder that BUILDER names, else the first that works here.

    Raises:
        ConfigError: If there is none.
    """
    named = os.environ.get("BUILDER")
    if named and named not in BUILDERS:
        raise ConfigError(f"BUILDER is {named}. It must be docker, podman or buildah.")
    for program in [named] if named else BUILDERS:
        # docker's client is there without its daemon more often than not
        if shutil.which(program) and not subprocess.run([program, "info"], capture_output=True).returncode:
            return Builder(program)
    asked = f"{named} does not work here" if named else "neither docker, podman nor buildah works here"
    raise ConfigError(f"{asked}. Install one (Debian: apt-get install buildah) or start docker's daemon.")


def git_commit() -> str:
    """GIT_COMMIT, else the checkout's commit (with `-dirty` behind it when files are changed), else `unknown`."""
    if os.environ.get("GIT_COMMIT"):
        return os.environ["GIT_COMMIT"]
    command = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    if not shutil.which("git"):
        return "unknown"
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() or "unknown"
