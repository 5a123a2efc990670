"""The three images: what they are called and what each is built from."""

import os
from dataclasses import dataclass
from pathlib import Path

from components.core.errors import ConfigError
from components.core.image_names import API, PIPELINE, UI, image_name

ROOT = Path(__file__).resolve().parents[1]
"""Build context of every image."""
VARIANTS = ("cpu", "cuda")


@dataclass(frozen=True)
class Image:
    """One image of the product."""

    key: str
    """What IMAGES calls it."""
    repository: str
    dockerfile: str
    """Relative to the build context."""
    has_torch: bool
    """Whether the variants differ."""

    def name(self, variant: str) -> str:
        """`[registry/]repository:tag[-cuda]`."""
        return image_name(self.repository, variant if self.has_torch else "cpu")


IMAGES = (
    Image("pipeline", PIPELINE, "components/Dockerfile", has_torch=True),
    Image("api", API, "llm-endpoint/Dockerfile", has_torch=True),
    Image("ui", UI, "ui/Dockerfile", has_torch=False),
)


def chosen_images() -> list[Image]:
    """The images that IMAGES names, all when it names none.

    Raises:
        ConfigError: If it names one that does not exist.
    """
    keys = os.environ.get("IMAGES", "").split()
    unknown = set(keys) - {image.key for image in IMAGES}
    if unknown:
        raise ConfigError(f"IMAGES names {', '.join(sorted(unknown))}. There are: pipeline, api, ui.")
    return [image for image in IMAGES if not keys or image.key in keys]


def chosen_variant() -> str:
    """`cpu` or `cuda`, from VARIANT.

    Raises:
        ConfigError: If it is something else.
    """
    variant = os.environ.get("VARIANT") or "cpu"
    if variant not in VARIANTS:
        raise ConfigError(f"VARIANT is {variant}. It must be cpu or cuda.")
    return variant
