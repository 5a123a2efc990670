"""Evaluation: the same questions to base, tuned and champion model, the difference, and the gate."""

from components.core.evaluation.comparison import evaluate
from components.core.evaluation.results import Evaluation, Verdict, read_evaluation
from components.core.evaluation.summary import print_summary

__all__ = ["Evaluation", "Verdict", "evaluate", "print_summary", "read_evaluation"]
