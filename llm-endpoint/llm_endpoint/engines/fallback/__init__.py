"""A primary model and one that stands in for it: the service and the model on this machine, either way round."""

from llm_endpoint.engines.fallback.engine import FallbackEngine

__all__ = ["FallbackEngine"]
