"""Forgetting: did the tuned model lose what the base knew of general texts and conversations (docs/evaluation.md)."""

from components.core.evaluation.forgetting.measuring import ProbeLosses, compare_losses, kinds_of, probe_losses
from components.core.evaluation.forgetting.probe import Probe, read_probe
from components.core.evaluation.forgetting.rule import forgetting_notes, judge_forgetting

__all__ = [
    "Probe",
    "ProbeLosses",
    "compare_losses",
    "forgetting_notes",
    "judge_forgetting",
    "kinds_of",
    "probe_losses",
    "read_probe",
]
