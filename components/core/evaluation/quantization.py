"""May a model be served with int8 weights? Both answered the same questions; the gate's rule for not being worse."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from components.core.errors import DataError, StorageError
from components.core.evaluation.comparison import FEW_ROWS, compare
from components.core.evaluation.gate import describe, is_not_worse
from components.core.evaluation.results import ALL_ROWS, METRIC_LABELS, Difference, ModelName, Result, Slice, points
from components.core.recipe import EvaluationConfig
from components.core.registry.model_folder import QUANTIZATION_FILE
from components.core.tasks import Row, Task


class Int8Verdict(Result):
    """May int8 weights be served instead of fp32? Differences are int8 minus fp32, as shares."""

    status: Literal["passed", "refused"]
    headline: str
    """One line that a person understands."""
    rows: int
    answers_changed: int
    f1_difference: float
    f1_difference_low: float
    f1_difference_high: float
    tolerance: float
    confidence: float
    dataset_fingerprint: str
    """Of the prepared dataset, or the hash of the file with the rows."""
    openvino: str
    """Version of the engine."""
    created: datetime


class Quantization(Result):
    """The content of quantization.json."""

    format: Literal[1] = 1
    content_sha256: str
    """Of the model folder's manifest: the verdict holds for these weights only."""
    int8: Int8Verdict


@dataclass(frozen=True)
class Int8Judgement:
    """What the answers say about int8."""

    slices: dict[str, Slice]
    """As an evaluation has them: fp32 in the place of `base`, int8 in that of `tuned`."""
    rows: int
    answers_changed: int
    gap: Difference
    """In F1, on all rows."""
    passed: bool
    headline: str


def check_enough_rows(count: int) -> None:
    """Raise a DataError where so few rows are left that no change in them would say little about others."""
    if count < FEW_ROWS:
        raise DataError(f"{count} test rows are too few to judge int8. Give at least {FEW_ROWS}, better 300.")


def judge_int8(
    task: Task,
    rows: Sequence[Row],
    fp32: Sequence[str],
    int8: Sequence[str],
    config: EvaluationConfig,
    tolerance: float,
) -> Int8Judgement:
    """Score both models' answers and decide by the paired difference in F1.

    Args:
        task: Scores the answers.
        rows: The test rows.
        fp32: Answers of the model as it is, read out, in row order.
        int8: Answers with int8 weights.
        config: Resamples, coverage and seed.
        tolerance: The interval's lower bound must lie above its negative, as a share.

    Raises:
        DataError: If there are too few rows.
    """
    check_enough_rows(len(rows))
    scores: dict[ModelName, list[dict[str, float]]] = {
        "base": task.score_rows(rows, fp32),
        "tuned": task.score_rows(rows, int8),
    }
    slices = compare(rows, scores, task.metric_names, config)
    gap = slices[ALL_ROWS].differences["base"]["f1"]
    # nothing lost is not worse, even where no loss is allowed
    passed = gap.changed == 0 or is_not_worse(gap, tolerance)
    label, numbers = METRIC_LABELS["f1"], f"(difference {describe(gap, config.confidence)})"
    loss = f"{points(tolerance)} points below fp32 {numbers}"
    reason = f"{label} with int8 weights {'is not' if passed else 'may be'} more than {loss}"
    return Int8Judgement(
        slices=slices,
        rows=len(rows),
        answers_changed=sum(one != other for one, other in zip(fp32, int8, strict=True)),
        gap=gap,
        passed=passed,
        headline=f"{'PASSED' if passed else 'REFUSED'}: {reason}",
    )


def write_int8_verdict(
    folder: Path,
    content_sha256: str,
    judgement: Int8Judgement,
    config: EvaluationConfig,
    tolerance: float,
    dataset_fingerprint: str,
    openvino: str,
) -> Path:
    """Write quantization.json into a model folder, whole or not at all.

    Raises:
        StorageError: If the folder cannot be written.
    """
    verdict = Int8Verdict(
        status="passed" if judgement.passed else "refused",
        headline=judgement.headline,
        rows=judgement.rows,
        answers_changed=judgement.answers_changed,
        f1_difference=judgement.gap.value,
        f1_difference_low=judgement.gap.low,
        f1_difference_high=judgement.gap.high,
        tolerance=tolerance,
        confidence=config.confidence,
        dataset_fingerprint=dataset_fingerprint,
        openvino=openvino,
        created=datetime.now(UTC).replace(microsecond=0),
    )
    path = folder / QUANTIZATION_FILE
    partial = folder / f".{QUANTIZATION_FILE}.partial"
    content = Quantization(content_sha256=content_sha256, int8=verdict).model_dump_json(indent=2)
    try:
        partial.write_text(content + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}. Free some space, or copy the folder to a place "
            "that can be written and judge it there."
        ) from error
    return path
