"""`make images-test`: build the images, look into them, and run each as a hardened pod would (IMAGES="api ui")."""

import sys

from components.core.errors import user_errors
from images.catalogue import chosen_images
from images.trial.base import provide_base
from images.trial.storage import install_tools, mounted, own_storage
from images.trial.trial import Trial


def main() -> None:
    """Try the images that IMAGES names; 1 when one is not as it must be, 2 when they cannot be tried."""
    with user_errors():
        images = chosen_images()
        install_tools()
        with own_storage() as (buildah, folder):
            base = provide_base(buildah, folder)
            trial = Trial(buildah, folder, base, mounted(buildah, base))
            results = [trial.of(image) for image in images]
    # once more, below what the builders said
    print("", *results, sep="\n")
    sys.exit(any(result.problems for result in results))


if __name__ == "__main__":
    main()
