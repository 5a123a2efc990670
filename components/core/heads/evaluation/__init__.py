"""Evaluation of a model with a head: against the majority, a bag of words and the champion; the gate; the report."""

from components.core.heads.evaluation.judging import evaluate_head
from components.core.heads.evaluation.results import HeadEvaluation, read_head_evaluation

__all__ = ["HeadEvaluation", "evaluate_head", "read_head_evaluation"]
