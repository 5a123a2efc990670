"""`make images`: build the images (IMAGES="api ui", VARIANT=cuda, BUILDER=podman, PIP_CONFIG_FILE=...)."""

import os

from components.core.errors import user_errors
from images.builder import find_builder
from images.catalogue import chosen_images, chosen_variant


def main() -> None:
    """Build what the environment asks for; exit code 2 with one line when it cannot be."""
    with user_errors():
        images, variant, builder = chosen_images(), chosen_variant(), find_builder()
        pip = os.environ.get("PIP_CONFIG_FILE")
        secret = ["--secret", f"id=pip_config,src={pip}"] if pip else []
        for name in [builder.build(image, variant, more=secret) for image in images]:
            print(f"built {name}")


if __name__ == "__main__":
    main()
