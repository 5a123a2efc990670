"""Names of the images: registry and tag have one place, `images.env`; the environment wins over it."""

import os
from pathlib import Path

IMAGES_ENV = Path(__file__).resolve().parents[2] / "images.env"
"""REGISTRY and TAG as `NAME=value` lines."""
PIPELINE, API, UI = "whetstone-pipeline-python", "whetstone-api", "whetstone-ui"
"""Repositories."""


def image_setting(name: str) -> str:
    """REGISTRY or TAG: from the environment unless it is empty there, else from `images.env`."""
    lines = (line.partition("=") for line in IMAGES_ENV.read_text(encoding="utf-8").splitlines())
    return os.environ.get(name) or next(value.strip() for key, _, value in lines if key == name)


def image_name(repository: str, variant: str = "cpu") -> str:
    """`[registry/]repository:tag`, the tag with `-cuda` behind it for that variant."""
    registry = image_setting("REGISTRY").rstrip("/")
    suffix = "" if variant == "cpu" else f"-{variant}"
    return f"{registry}/{repository}:{image_setting('TAG')}{suffix}".removeprefix("/")
