"""The `step` decorator: one image for all steps, and nothing installed at run time."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kfp import dsl

from components.core.image_names import PIPELINE, image_name


def step(function: Callable[..., Any]) -> Any:
    """Make a KFP component of a function whose body imports what it needs.

    The image is PIPELINE_IMAGE, else the one that `make images` builds. kfp is in it, so nothing is pip-installed when
    a pod starts.
    """
    image = os.environ.get("PIPELINE_IMAGE") or image_name(PIPELINE)
    return dsl.component(base_image=image, install_kfp_package=False)(function)


def log_metrics(artifact: Any, values: Mapping[str, float]) -> None:
    """Log metrics, and write them as JSON: the local cache only believes in artifacts that are files."""
    for name, value in values.items():
        artifact.log_metric(name, value)
    Path(artifact.path).write_text(json.dumps(values), encoding="utf-8")
