"""Batch inference with a trained head: a file of rows in, one prediction for each out, in the same order."""

from components.core.heads.inference.predictor import Predictor, Runtime, Weights, open_predictor, predict
from components.core.heads.inference.running import InferenceReport, run_inference

__all__ = ["InferenceReport", "Predictor", "Runtime", "Weights", "open_predictor", "predict", "run_inference"]
