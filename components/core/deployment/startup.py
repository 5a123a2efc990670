"""How long the endpoint may take to start, from the size of its model."""

import math
from typing import Any

PROGRESS_DEADLINE = "serving.knative.dev/progress-deadline"
"""Annotation of pods in Knative mode: a revision that is not ready by then counts as failed."""

BASE_SECONDS = 60.0
"""Image, imports and the warm-up answer, of any model."""
DOWNLOAD_BYTES_PER_SECOND = 60e6
CONVERSION_SECONDS_PER_MILLION = 0.3
"""On a CPU, where a model is converted once: 20-33 s were measured for 110 million parameters."""
BYTES_PER_PARAMETER = 2
"""bf16, the usual form; fp32 has half as many parameters in the same bytes and is done sooner."""
SAFETY_FACTOR = 3
"""For slower nodes and busy networks: a probe that gives up too early restarts the same download again and again."""
PERIOD_SECONDS = 10


def startup_seconds(size_bytes: int) -> float:
    """Seconds from the container's start to its first answer, at the most.

    Args:
        size_bytes: Weights as stored, such as the sum of the safetensors files.
    """
    millions = size_bytes / BYTES_PER_PARAMETER / 1e6
    work = size_bytes / DOWNLOAD_BYTES_PER_SECOND + millions * CONVERSION_SECONDS_PER_MILLION
    return BASE_SECONDS + SAFETY_FACTOR * work


def startup_probe(size_bytes: int) -> dict[str, Any]:
    """Kubernetes startup probe of the endpoint for a model of this size.

    Args:
        size_bytes: Weights as stored, such as the sum of the safetensors files.
    """
    return {
        "httpGet": {"path": "/readyz", "port": 8080},
        "periodSeconds": PERIOD_SECONDS,
        "timeoutSeconds": 5,
        "failureThreshold": math.ceil(startup_seconds(size_bytes) / PERIOD_SECONDS),
    }


def size_startup(service: dict[str, Any], size_bytes: int) -> None:
    """Give an InferenceService the patience that its model needs.

    Args:
        service: Changed in place; the containers that have a startup probe, and Knative's deadline where there is one.
        size_bytes: Weights as stored, such as the sum of the safetensors files.
    """
    predictor = service["spec"]["predictor"]
    for container in predictor.get("containers", []):
        if "startupProbe" in container:
            container["startupProbe"] = startup_probe(size_bytes)
    annotations = predictor.get("annotations", {})
    if PROGRESS_DEADLINE in annotations:
        annotations[PROGRESS_DEADLINE] = f"{math.ceil(startup_seconds(size_bytes)) + PERIOD_SECONDS}s"
