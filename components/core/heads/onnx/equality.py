"""Whether an exported model computes what PyTorch computes, on real rows in batches of many shapes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from components.core.errors import TrainingError
from components.core.heads.batches import Batch, pad, plan_by_length
from components.core.heads.onnx.session import run
from components.core.tasks import HeadTask, Row
from components.core.tasks.heads import EncodedInputs, Head, InputEncoder, Outputs, Prediction, gather_outputs
from components.core.tasks.heads.seam import sigmoid, softmax

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_ROWS = 256
_ALONE = 8
"""Inputs that are also passed on their own."""
_TOKENS = 2048
_TOLERANCE = 1e-4
_PREDICTED = ("label", "labels", "tags")


@dataclass(frozen=True)
class Comparison:
    """What was found."""

    rows: int
    difference: float
    """Largest difference of a probability, or of the normalised number."""
    same_predictions: bool

    @property
    def equal(self) -> bool:
        """Whether the export may be used."""
        return self.same_predictions and self.difference <= _TOLERANCE


def compare(
    model: Any, session: "InferenceSession", task: HeadTask, rows: Sequence[Row], encoder: InputEncoder, head: Head
) -> Comparison:
    """Pass up to some hundred rows, spread over all, through both.

    Raises:
        TrainingError: If there is no row to compare on.
    """
    import torch

    if not rows:
        raise TrainingError("apply_ort=true: there are no rows to compare the export on. Give validation rows.")
    chosen = [rows[int(place)] for place in np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _ROWS)).astype(int))]
    encoded = task.encode(chosen, encoder)
    wanted: list[npt.NDArray[Any]] = [np.empty(0)] * len(encoded.pieces)
    found = list(wanted)
    worst = 0.0
    for places in _batches(encoded):
        batch = _batch(encoded, places, head)
        with torch.inference_mode():
            theirs = model(**{name: torch.from_numpy(values) for name, values in batch.items()}).logits.numpy()
        ours = run(session, batch)
        for place, one, other in zip(places, theirs, ours, strict=True):
            length = len(encoded.pieces[place].input_ids)
            wanted[place], found[place] = (each[:length] if each.ndim > 1 else each for each in (one, other))
            gap = float(np.abs(_scale(wanted[place], head) - _scale(found[place], head)).max())
            # max() would pass over a NaN, which is no number that could be small enough
            worst = max(worst, gap) if np.isfinite(gap) else float("inf")
    if not np.isfinite(worst):
        return Comparison(len(chosen), worst, False)
    left, right = (_read(task, encoded, outputs, chosen, head) for outputs in (wanted, found))
    return Comparison(len(chosen), worst, left == right)


def _batches(encoded: EncodedInputs) -> list[list[int]]:
    """Every input in a batch of like length, some on their own, and short ones padded to a long one's length."""
    lengths = [len(piece.input_ids) for piece in encoded.pieces]
    order = sorted(range(len(lengths)), key=lambda place: lengths[place])
    mixed = [order[:2] + order[-2:]] if len(order) >= 4 else []
    alone = [[place] for place in order[:: max(1, len(order) // _ALONE)]]
    return [*mixed, *alone, *plan_by_length(lengths, _TOKENS)]


def _batch(encoded: EncodedInputs, places: Sequence[int], head: Head) -> Batch:
    pieces = [encoded.pieces[place] for place in places]
    return pad([piece.input_ids for piece in pieces], [piece.token_type_ids for piece in pieces], head)


def _scale(outputs: npt.NDArray[Any], head: Head) -> Outputs:
    if head.task == "regression":
        return np.asarray(outputs, dtype=np.float64)
    return sigmoid(outputs) if head.task == "multi_label" else softmax(outputs)


def _read(
    task: HeadTask, encoded: EncodedInputs, outputs: Sequence[npt.NDArray[Any]], rows: Sequence[Row], head: Head
) -> list[Any]:
    predictions: list[Prediction] = task.read_out(gather_outputs(encoded, outputs, head), rows, head)
    return [{name: each[name] for name in _PREDICTED if name in each} for each in predictions]
