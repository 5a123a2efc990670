"""An engine that is an OpenAI-compatible server: vLLM in its own predictor, or a hosted model."""

from llm_endpoint.engines.remote.engine import RemoteEngine

__all__ = ["RemoteEngine"]
