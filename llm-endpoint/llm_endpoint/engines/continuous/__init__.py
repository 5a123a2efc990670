"""Continuous batching over a transformers model, for what the converted engines cannot run."""

from llm_endpoint.engines.continuous.core import ContinuousCore
from llm_endpoint.engines.continuous.opening import open_continuous_core

__all__ = ["ContinuousCore", "open_continuous_core"]
