"""The rounds of infer, judge, generate, merge, retrain: what was decided and why."""
