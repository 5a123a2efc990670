"""Metrics, pure functions of plain values: one module per task, on numpy alone. Those of answers are offered here.

`answers`, `classification`, `multi_label` (with `thresholds`), `regression` and `entities`.
"""

from components.core.metrics.answers import best_over_references, exact_match, f1, normalize_answer

__all__ = ["best_over_references", "exact_match", "f1", "normalize_answer"]
