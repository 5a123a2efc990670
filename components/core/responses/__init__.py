"""Batch inference: a model's answers to the rows of a dataset, each asked `repeat` times, as another dataset."""

from components.core.responses.config import BatchInferenceConfig
from components.core.responses.inference import COLUMNS, InferResult, infer

__all__ = ["COLUMNS", "BatchInferenceConfig", "InferResult", "infer"]
