"""The `step` decorator: one image for all steps, and nothing installed at run time."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
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


def log_metrics(artifact: Any, values: Mapping[str, float]) -> None:
    """Log metrics, and write them as JSON: the local cache only believes in artifacts that are files."""
    for name, value in values.items():
        artifact.log_metric(name, value)
    Path(artifact.path).write_text(json.dumps(values), encoding="utf-8")
