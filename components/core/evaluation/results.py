"""What an evaluation found: the shape of evaluation.json. Scores and differences are shares, not percent."""

import math
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from components.core.errors import StorageError

EVALUATION_FILE = "evaluation.json"
PREDICTIONS_FILE = "predictions.jsonl"
REPORT_FILE = "report.html"
SUMMARY_FILE = "report.md"

ALL_ROWS = "all"
METRIC_LABELS = {
    "f1": "F1", "exact_match": "Exact match", "accuracy": "Accuracy", "precision": "Precision", "recall": "Recall",
    "f1_macro": "Macro F1", "f1_micro": "Micro F1", "f1_weighted": "Weighted F1", "f1_samples": "F1 by row",
    "precision_macro": "Macro precision", "precision_micro": "Micro precision", "precision_samples": "Precision by row",
    "recall_macro": "Macro recall", "recall_micro": "Micro recall", "recall_samples": "Recall by row",
    "mcc": "Matthews correlation", "auc": "AUC", "calibration_error": "Calibration error",
    "r2": "R²", "pearson": "Pearson correlation", "spearman": "Spearman correlation",
    "mae": "Mean absolute error", "rmse": "Root mean squared error", "loss": "Loss", "perplexity": "Perplexity",
}  # fmt: skip
IN_UNITS = frozenset({"r2", "pearson", "spearman", "mae", "rmse", "loss", "perplexity"})
"""Metrics that are no shares and are shown as they are; all others are shown in points of 100."""
SLICE_LABELS = {ALL_ROWS: "All rows", "has_answer": "HasAns", "no_answer": "NoAns"}
ModelName = Literal["base", "tuned", "champion", "bag_of_words"]
MODEL_LABELS: dict[ModelName, str] = {
    "base": "base", "tuned": "tuned", "champion": "champion", "bag_of_words": "bag of words",
}  # fmt: skip


class Result(BaseModel):
    """Base of all results: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Score(Result):
    """A mean score and its interval."""

    value: float
    low: float
    high: float


class Difference(Score):
    """A paired difference, tuned minus the other model."""

    changed: int
    """Contexts (or rows, where contexts are not shared) whose score differs."""


class Slice(Result):
    """The scores of all models on some of the rows; the keys are model, then metric."""

    rows: int
    scores: dict[ModelName, dict[str, Score]]
    differences: dict[ModelName, dict[str, Difference]]
    """Tuned minus the model that is the key."""


ProbeKind = Literal["text", "conversation"]
PROBE_KINDS: tuple[ProbeKind, ...] = ("text", "conversation")
PROBE_LABELS: dict[ProbeKind, str] = {"text": "General texts", "conversation": "General conversations"}


class Loss(Score):
    """A mean loss in nats per token, and its interval."""

    @property
    def perplexity(self) -> float:
        """The tokens that a guess would choose from to be as wrong."""
        return math.exp(min(self.value, 700))


class ForgottenKind(Result):
    """The probe rows of one kind under base and tuned model; losses in nats per token."""

    rows: int
    tokens: int
    """Tokens whose loss counts, of the base."""
    base: Loss
    tuned: Loss
    increase: Difference
    """Tuned minus base, on the same rows: above 0 the tuned model finds them less probable."""
    known: bool
    """Whether the base finds them more probable than a guess; what it does not know it cannot forget."""
    same_tokens: bool
    """Whether both models read the same number of tokens; else their losses compare roughly."""


class ForgottenRow(Result):
    """One probe row; losses in nats per token."""

    row_id: str
    kind: ProbeKind
    text: str
    base: float
    tuned: float
    tokens: int


class Forgetting(Result):
    """How much of the probe the tuned model forgot."""

    probe: str
    """`embedded`, or the name of the user's file."""
    fingerprint: str
    guess: float
    """Loss of a model that finds all tokens equally probable, in nats."""
    kinds: dict[ProbeKind, ForgottenKind]
    worst: list[ForgottenRow]
    """Rows whose loss rose most, the worst first."""
    points: list[tuple[ProbeKind, float, float]]
    """Kind and losses of base and tuned model, of each row."""

    def flat_metrics(self) -> dict[str, float]:
        """Numbers by name: `base_probe_loss_text`, `tuned_probe_loss_text`, `forgetting_text` with its bounds, ..."""
        found: dict[str, float] = {}
        for kind, each in self.kinds.items():
            rise = each.increase
            found |= {f"base_probe_loss_{kind}": each.base.value, f"tuned_probe_loss_{kind}": each.tuned.value}
            found |= {f"forgetting_{kind}": rise.value, f"forgetting_{kind}_low": rise.low}
            found |= {f"forgetting_{kind}_high": rise.high}
        return found


class ModelFacts(Result):
    """One model that was asked."""

    source: str
    """Model id or folder name."""
    revision: str
    weights_sha256: str
    rows_cut: int
    """Rows whose context lost its end because the prompt was longer than the model can read."""
    seconds: float
    """Time to generate; 0 when the predictions came from the cache."""
    cached: bool


class Verdict(Result):
    """May the tuned model go on?"""

    status: Literal["passed", "refused"]
    outcome: Literal[
        "better",
        "no difference",
        "worse",
        "too small a gain",
        "below minimum",
        "not better than the champion",
        "worse than the champion",
        "not better than bag of words",
        "worse than bag of words",
        "forgot",
    ]
    headline: str
    """One line that a person understands."""
    reasons: list[str]
    """The rules that were broken; when none was, all rules that were applied."""
    warnings: list[str] = []

    @property
    def passed(self) -> bool:
        """Whether the model may be uploaded, registered and deployed."""
        return self.status == "passed"


class Qualification(Result):
    """What a service LLM said, as a judge, of the tuned model as its own stand-in; points of 100."""

    qualified: bool
    judge: str
    similarity: Score
    precision: Score
    coverage: Score
    """Share of the prompts whose answers are good enough."""
    thresholds: dict[str, float]
    prompts: int
    round: int
    """Of the loop that trained it."""


class Evaluation(Result):
    """Base, tuned and champion model on the same test rows, and the verdict."""

    task: str
    metrics: list[str]
    """Names of the metrics, the most telling first."""
    gate_metric: str
    confidence: float
    bootstrap_samples: int
    seed: int
    max_new_tokens: int
    repetition_penalty: float = 1.0
    one_line: bool = False
    """A line break ended the tuned model's answers; it is served so."""
    rows: int
    contexts: int
    resampled: Literal["contexts", "rows"]
    models: dict[ModelName, ModelFacts]
    slices: dict[str, Slice]
    """`all`, and `has_answer` and `no_answer` where the test rows hold both."""
    verdict: Verdict
    forgetting: Forgetting | None = None
    qualification: Qualification | None = None
    notes: list[str]
    """What a reader should know before trusting the numbers."""
    dataset_fingerprint: str
    test_fingerprint: str
    seconds: float

    @property
    def everything(self) -> Slice:
        """The slice of all rows."""
        return self.slices[ALL_ROWS]

    def flat_metrics(self) -> dict[str, float]:
        """Numbers for a metrics artifact or a tracking server, such as `tuned_f1` and `f1_difference_base_low`."""
        found: dict[str, float] = {"rows": float(self.rows), "passed": float(self.verdict.passed)}
        for name, part in self.slices.items():
            suffix = "" if name == ALL_ROWS else f"_{name}"
            for model, scores in part.scores.items():
                found |= {f"{model}_{metric}{suffix}": score.value for metric, score in scores.items()}
            for model, differences in part.differences.items():
                for metric, gap in differences.items():
                    key = f"{metric}_difference_{model}{suffix}"
                    found |= {key: gap.value, f"{key}_low": gap.low, f"{key}_high": gap.high}
        return found | (self.forgetting.flat_metrics() if self.forgetting else {})


def read_evaluation(folder: Path) -> Evaluation:
    """Read evaluation.json of an output folder.

    Raises:
        StorageError: If it is missing or is not an evaluation.
    """
    path = folder / EVALUATION_FILE
    try:
        return Evaluation.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} is missing or not an evaluation ({error}). Run the evaluation again.") from error


def points(share: float) -> str:
    """A score in points of 100 with one decimal."""
    return f"{100 * share:.1f}"


def signed_points(share: float) -> str:
    """A difference in points with its sign; a difference that rounds to nothing has none."""
    text = f"{100 * share:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def show(metric: str, value: float) -> str:
    """A score as its metric is read: in points of 100, or as the number that it is."""
    return _number(value) if metric in IN_UNITS else points(value)


def show_signed(metric: str, value: float) -> str:
    """A difference with its sign; one that rounds to nothing has none."""
    if metric not in IN_UNITS:
        return signed_points(value)
    text = _number(abs(value))
    return text if float(text.replace(",", "")) == 0 else f"{'-' if value < 0 else '+'}{text}"


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if 1e-9 < abs(value) < 0.01:
        return f"{value:.2g}"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"
