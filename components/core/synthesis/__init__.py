"""New training rows from reference rows: generated, checked, deduplicated, merged."""

from components.core.synthesis.config import DataGenConfig, DatasetMergeConfig
from components.core.synthesis.generating import generate
from components.core.synthesis.merging import MergeResult, merge, say_counts
from components.core.synthesis.report import GenerateResult, say_end

__all__ = [
    "DataGenConfig",
    "DatasetMergeConfig",
    "GenerateResult",
    "MergeResult",
    "generate",
    "merge",
    "say_counts",
    "say_end",
]
