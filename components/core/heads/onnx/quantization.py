"""int8 weights by dynamic quantisation, used only where the task's own metric does not suffer."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.core.evaluation.bootstrap import estimate_means
from components.core.heads.folders import ONNX_FILE, ONNX_INT8_FILE
from components.core.heads.onnx.session import open_session, run
from components.core.tasks import HeadTask, Row
from components.core.tasks.heads import Head, InputEncoder, Prediction

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

logger = logging.getLogger(__name__)

TOLERANCE = 0.02
FEWEST_ROWS = 30
_SAMPLES, _CONFIDENCE, _SEED = 2000, 0.95, 42


@dataclass(frozen=True)
class Int8Verdict:
    """int8 against fp32 weights on the same rows."""

    passed: bool
    metric: str
    """Mean over rows; higher is better."""
    fp32: float | None
    """None where it was not measured, as in what follows."""
    int8: float | None
    difference: float | None
    """int8 - fp32."""
    interval: tuple[float, float] | None
    tolerance: float
    reason: str


def quantize(
    model_dir: Path, session: "InferenceSession", task: HeadTask, rows: Sequence[Row], head: Head
) -> Int8Verdict:
    """Write model.int8.onnx, and take it away again unless it is hardly worse than fp32.

    Args:
        model_dir: Holds model.onnx.
        session: Of model.onnx.
        task: Measures.
        rows: With what they teach.
        head: Of the model.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    metric = task.row_metrics[0]
    if len(rows) < FEWEST_ROWS:
        reason = f"{len(rows)} validation rows are too few to judge int8 weights; {FEWEST_ROWS} are needed"
        return _refused(metric, reason)
    path = model_dir / ONNX_INT8_FILE
    before = logging.root.level
    try:
        # it advises at WARNING to run a step that the exporter has done
        logging.root.setLevel(logging.ERROR)
        quantize_dynamic(str(model_dir / ONNX_FILE), str(path), weight_type=QuantType.QInt8)
    except Exception as error:  # an operator or shape that it cannot follow
        path.unlink(missing_ok=True)
        return _refused(metric, f"the model cannot be quantized ({' '.join(str(error).split())[:200]})")
    finally:
        logging.root.setLevel(before)
    encoder = InputEncoder(model_dir, head)
    scores = [
        [row[metric] for row in task.score_rows(rows, _predict(each, task, rows, encoder, head))]
        for each in (session, open_session(path))
    ]
    verdict = _judge(metric, np.array(scores[0]), np.array(scores[1]))
    logger.info("int8 weights: %s", verdict.reason)
    if not verdict.passed:
        path.unlink()
    return verdict


def _judge(metric: str, fp32: Any, int8: Any) -> Int8Verdict:
    columns = np.stack([fp32, int8, int8 - fp32], axis=1)
    *means, gap = estimate_means(columns, np.arange(len(fp32)), _SAMPLES, _CONFIDENCE, _SEED)
    passed = gap.low > -TOLERANCE
    words = "not more than" if passed else "perhaps more than"
    reason = (
        f"{metric} is {words} {TOLERANCE:g} below that of fp32 ({gap.value:+.4f}, {gap.low:+.4f} to {gap.high:+.4f})"
    )
    return Int8Verdict(
        passed, metric, means[0].value, means[1].value, gap.value, (gap.low, gap.high), TOLERANCE, reason
    )


def _refused(metric: str, reason: str) -> Int8Verdict:
    logger.warning("int8 weights are not used: %s", reason)
    return Int8Verdict(False, metric, None, None, None, None, TOLERANCE, reason)


def _predict(
    session: "InferenceSession", task: HeadTask, rows: Sequence[Row], encoder: InputEncoder, head: Head
) -> list[Prediction]:
    from components.core.heads.inference.predictor import TOKENS_PER_BATCH, Predictor, predict

    def run_session(batch: Any) -> Any:
        return run(session, batch)

    predictor = Predictor(head, encoder, "onnxruntime", "int8", "", TOKENS_PER_BATCH["onnxruntime"], run_session)
    return predict(predictor, task, rows)
