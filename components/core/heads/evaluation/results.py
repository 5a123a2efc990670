"""What the evaluation of a model with a head found: the shape of its evaluation.json."""

from pathlib import Path
from typing import Any, Literal

from components.core.errors import StorageError
from components.core.evaluation.results import ALL_ROWS, EVALUATION_FILE, ModelName, Result, Slice, Verdict


class ComparedModel(Result):
    """One model that answered the test rows."""

    source: str
    """Folder name, or what the model is."""
    sha256: str = ""
    runtime: str = ""
    rows_cut: int = 0
    """Rows that lost a part of their text because it was longer than the model reads."""
    seconds: float = 0.0


class HeadEvaluation(Result):
    """All models on the same test rows, and the verdict; scores of shares are 0 to 1, others in their own unit."""

    task: str
    metrics: list[str]
    """Metrics with intervals, the gate's first."""
    gate_metric: str
    confidence: float
    bootstrap_samples: int
    seed: int
    rows: int
    contexts: int
    """Different texts."""
    resampled: Literal["contexts", "rows"]
    models: dict[ModelName, ComparedModel]
    slices: dict[str, Slice]
    verdict: Verdict
    values: dict[ModelName, dict[str, float | None]]
    """All metrics of the task, those without an interval included; None where not defined."""
    undefined: dict[ModelName, dict[str, str]]
    """Why a metric is None."""
    details: dict[str, Any]
    """By task: labels, confusion, calibration, residuals, entity errors of the tuned model."""
    notes: list[str]
    dataset_fingerprint: str
    test_sha256: str
    seconds: float

    @property
    def everything(self) -> Slice:
        """The slice of all rows."""
        return self.slices[ALL_ROWS]

    def flat_metrics(self) -> dict[str, float]:
        """Numbers for a metrics artifact or a tracking server, such as `tuned_f1` and `f1_difference_base_low`."""
        found = {"rows": float(self.rows), "passed": float(self.verdict.passed)}
        for model, values in self.values.items():
            found |= {f"{model}_{metric}": value for metric, value in values.items() if value is not None}
        for model, differences in self.everything.differences.items():
            for metric, gap in differences.items():
                key = f"{metric}_difference_{model}"
                found |= {key: gap.value, f"{key}_low": gap.low, f"{key}_high": gap.high}
        return found


def read_head_evaluation(folder: Path) -> HeadEvaluation:
    """Read evaluation.json of an output folder.

    Raises:
        StorageError: If it is missing or is not an evaluation of a model with a head.
    """
    path = folder / EVALUATION_FILE
    try:
        return HeadEvaluation.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} is missing or not an evaluation ({error}). Run the evaluation again.") from error
