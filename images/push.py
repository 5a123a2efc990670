"""`make push`: push the images to REGISTRY and print their digests."""

from components.core.errors import ConfigError, user_errors
from components.core.image_names import image_setting
from images.builder import find_builder
from images.catalogue import chosen_images, chosen_variant


def main() -> None:
    """Push what the environment asks for; exit code 2 with one line when it cannot be."""
    with user_errors():
        if not image_setting("REGISTRY"):
            raise ConfigError(
                "REGISTRY is empty: nowhere to push to. Set it in images.env, or: make push REGISTRY=ghcr.io/<you>"
            )
        images, variant, builder = chosen_images(), chosen_variant(), find_builder()
        names = [image.name(variant) for image in images]
        for name, digest in [(name, builder.push(name)) for name in names]:
            print(f"pushed {name.rpartition(':')[0]}@{digest}  ({name})")


if __name__ == "__main__":
    main()
