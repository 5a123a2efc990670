"""The seam between the platform and a task with a head, beside the row contract."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from components.core.metrics.classification import ClassificationScores
from components.core.metrics.entities import EntityScores
from components.core.metrics.multi_label import MultiLabelScores
from components.core.metrics.regression import RegressionScores
from components.core.tasks.heads.encoding import NO_TOKEN, EncodedInputs, InputEncoder, Piece
from components.core.tasks.heads.head import Head
from components.core.tasks.seam import Finding, Row, RowContract

HeadKind = Literal["sequence", "token"]
"""Auto class of transformers: AutoModelForSequenceClassification or AutoModelForTokenClassification."""
Outputs = npt.NDArray[np.float64]
"""Raw outputs (logits) for one row: shape (k,), or (words, k) for `token`."""
Prediction = dict[str, Any]
"""What a head says of one row, as JSON; the endpoint answers with the same keys."""
Scores = ClassificationScores | MultiLabelScores | RegressionScores | EntityScores


class HeadTask(RowContract, Protocol):
    """A task that a classification or regression head answers."""

    head_kind: HeadKind
    problem_type: str | None
    """`problem_type` of the model's config, which picks the loss; None where the head has but one."""
    input_columns: Sequence[str]
    """Columns without which nothing can be predicted."""
    row_metrics: Sequence[str]
    """Metrics that `score_rows` gives for each row, the most telling first; higher is better."""

    def parse_input(self, raw: Mapping[str, Any]) -> tuple[Row | None, list[Finding]]:
        """Check the inputs of one raw row and give them in canonical form; what it teaches may be missing."""

    def encode(self, rows: Sequence[Row], encoder: InputEncoder) -> EncodedInputs:
        """Token ids of rows that have the input columns."""

    def learned(self, row: Row, piece: Piece, head: Head) -> Any:
        """What the loss takes: a number of a label, 0/1 by label, a normalised number, or a label for each token."""

    def read_out(self, outputs: Sequence[Outputs], rows: Sequence[Row], head: Head) -> list[Prediction]:
        """What the outputs mean."""

    def line(self, prediction: Prediction) -> str:
        """The prediction as one line of `predictions.txt`."""

    def score(self, rows: Sequence[Row], predictions: Sequence[Prediction], head: Head) -> Scores:
        """All metrics of predictions for rows that teach something."""

    def score_rows(self, rows: Sequence[Row], predictions: Sequence[Prediction]) -> list[dict[str, float]]:
        """Metrics of each row, for the paired bootstrap."""


def gather_outputs(encoded: EncodedInputs, outputs: Sequence[npt.NDArray[Any]], head: Head) -> list[Outputs]:
    """Outputs of the model by row.

    Args:
        encoded: The batch, of n rows.
        outputs: Of each piece: shape (k,), or (tokens, k) for words, padding allowed behind.
        head: Names the outputs.

    Returns:
        For each row its outputs; a word without a token is outside of every entity.
    """
    if head.task != "ner":
        return [np.asarray(values, dtype=np.float64) for values in outputs]
    words = [0] * len(encoded.cut)
    for piece in encoded.pieces:
        words[piece.row] = piece.first_word + len(piece.words)
    nothing = np.full(head.outputs, -np.inf)
    nothing[0] = 0.0  # O is the first tag
    rows = [np.tile(nothing, (count, 1)) for count in words]
    for piece, values in zip(encoded.pieces, outputs, strict=True):
        for number, place in enumerate(piece.words, start=piece.first_word):
            if place != NO_TOKEN:
                rows[piece.row][number] = values[place]
    return rows


def softmax(outputs: npt.NDArray[Any]) -> Outputs:
    """Probabilities over the last axis."""
    values = np.asarray(outputs, dtype=np.float64)
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), dtype=np.float64)


def sigmoid(outputs: npt.NDArray[Any]) -> Outputs:
    """Probability of each output on its own."""
    # the two halves of a formula that overflows on neither side
    values = np.asarray(outputs, dtype=np.float64)
    small = np.exp(-np.abs(values))
    return np.asarray(np.where(values >= 0, 1.0, small) / (1.0 + small), dtype=np.float64)
