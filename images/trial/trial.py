"""One image after the other: built among planted secrets, looked into, run."""

import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from components.core.errors import PlatformError
from images.builder import Builder
from images.catalogue import ROOT, Image
from images.trial.container import Config, Container
from images.trial.contents import blobs_with, file_problems, layer_sizes
from images.trial.pip_access import pip_options, torch_options
from images.trial.running import run_image
from images.trial.storage import mounted

_SOURCES = ("components", "llm-endpoint", "ui", "images.env", ".dockerignore")
_SECRET_PLACES = (".env", ".git/config", "components/.env", "llm-endpoint/llm_endpoint/.env", "ui/.env", "tests/key")


@dataclass
class Result:
    """What the trial of one image found."""

    name: str
    layers: list[int]
    """Bytes, uncompressed, the base image's first."""
    said: list[str]
    problems: list[str]

    def __str__(self) -> str:
        """Lines for the terminal."""
        own = sum(self.layers[1:]) / 1e6
        size = f"{sum(self.layers) / 1e6:.0f} MB uncompressed, {own:.0f} MB of it above the base image"
        lines = [f"  ok: {line}" for line in self.said] + [f"  PROBLEM: {line}" for line in self.problems]
        return "\n".join([f"{self.name}: {size}", *lines])


@dataclass(frozen=True)
class Trial:
    """One storage, one base image and one planted secret for all images."""

    buildah: Builder
    folder: Path
    """For the trial's own files."""
    base: str
    base_files: Path
    canary: str = field(default_factory=lambda: "hf_" + secrets.token_hex(16))

    def of(self, image: Image) -> Result:
        """Build and try one image."""
        started = time.monotonic()
        name = self._build(image)
        built = time.monotonic() - started
        pushed = self.folder / "pushed"
        subprocess.run(self.buildah.command("push", "-q", "-D", name, f"dir:{pushed}"), check=True)
        files = mounted(self.buildah, name)
        result = Result(name, layer_sizes(pushed), [f"built in {built:.0f} s"], [])
        result.problems += [*self._leaks(image, pushed), *file_problems(files, self.base_files, "cpu")]
        shutil.rmtree(pushed)
        if not result.problems:
            result.said.append("no secret in a layer; no compiler, pip or cache; no foreign, setuid or writable file")
        try:
            result.said += run_image(image, Container(self._config(name), files, self.folder / f"{image.key}.log"))
        except PlatformError as error:
            result.problems.append(str(error))
        print(result, flush=True)
        return result

    def _build(self, image: Image) -> str:
        """Build from a copy of the sources in which secrets lie around, as they may in a checkout."""
        context = self.folder / "context"
        shutil.rmtree(context, ignore_errors=True)
        context.mkdir()
        for source in _SOURCES:
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy2
            copy(ROOT / source, context / source)
        for place in _SECRET_PLACES:
            (context / place).parent.mkdir(parents=True, exist_ok=True)
            (context / place).write_text(f"HF_TOKEN={self.canary}\n", encoding="utf-8")
        os.environ["HF_TOKEN"] = self.canary
        options = ["--pull-never", "--isolation", "chroot", "--layers=false", "--build-arg", f"BASE_IMAGE={self.base}"]
        options += pip_options(self.folder, self.canary) + (torch_options() if image.has_torch else [])
        return self.buildah.build(image, "cpu", context, options)

    def _leaks(self, image: Image, pushed: Path) -> Iterator[str]:
        for blob in blobs_with(pushed, self.canary):
            yield f"the planted secret is in blob {blob}"
        # a search that finds nothing at all would find no secret either
        if len(blobs_with(pushed, "opt/venv/pyvenv.cfg")) != 1:
            yield "the search for secrets cannot see into the layers"

    def _config(self, name: str) -> Config:
        command = self.buildah.command("inspect", "--type", "image", name)
        return Config.of(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))
