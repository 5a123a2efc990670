"""What a run needs, told before anything is booked: memory, time, and whether the cluster's GPUs have it."""

from components.core.preflight.check import Report, examine, least_gpu_bytes, preflight

__all__ = ["Report", "examine", "least_gpu_bytes", "preflight"]
