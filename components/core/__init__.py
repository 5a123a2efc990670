"""The library. It knows nothing of pipelines."""
