"""The CPU engine: a model converted for OpenVINO, checked against transformers, kept by fingerprint."""
