"""The `step` decorator: one image for all steps, and nothing installed at run time."""

import os
from collections.abc import Callable
from typing import Any

from kfp import dsl

DEFAULT_IMAGE = "whetstone-pipeline-python:0.1.0"
"""Image of the steps when PIPELINE_IMAGE is not set; `make images` builds it under this name."""


def step(function: Callable[..., Any]) -> Any:
    """Make a KFP component of a function whose body imports what it needs.

    The image comes from PIPELINE_IMAGE. kfp is in the image, so nothing is pip-installed when a pod starts.
    """
    image = os.environ.get("PIPELINE_IMAGE") or DEFAULT_IMAGE
    return dsl.component(base_image=image, install_kfp_package=False)(function)
