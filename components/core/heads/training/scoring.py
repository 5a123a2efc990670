"""What the outputs for the validation rows are worth, in the metrics of the task."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from components.core.errors import StorageError
from components.core.heads.training.job import HeadInputs
from components.core.metrics.labels import Values
from components.core.metrics.multi_label import indicate
from components.core.metrics.thresholds import tune_thresholds
from components.core.tasks.heads import EncodedInputs, Head, InputEncoder, gather_outputs
from components.core.tasks.heads.seam import sigmoid


class Validation:
    """The validation rows, and how the inputs of the model belong to them.

    Raises:
        StorageError: If tokens and rows are not of the same preprocessing.
    """

    def __init__(self, inputs: HeadInputs) -> None:
        self._task, self._head, self._rows = inputs.task, inputs.head, inputs.validation_rows
        self.order: list[int] = np.argsort(-inputs.validation.lengths, kind="stable").tolist()
        """Inputs in the order in which they are computed: the longest first, so that little is padded."""
        self._encoded = EncodedInputs([], [False] * len(self._rows))
        count = len(self._rows)
        if self._head.task == "ner":
            # which token speaks for which word is not in the tokens
            self._encoded = self._task.encode(self._rows, InputEncoder(inputs.tokenizer, self._head))
            count = len(self._encoded.pieces)
        if count != len(inputs.validation):
            raise StorageError(
                f"validation.jsonl gives {count} inputs, validation.arrow holds {len(inputs.validation)}. "
                "Run the preprocessing again."
            )

    def measure(self, outputs: Sequence[npt.NDArray[Any]]) -> tuple[Head, Values]:
        """Metrics, and the head with thresholds that are tuned on these outputs where it has some.

        Args:
            outputs: Of each input, in the order of `order`; shape (k,), or (tokens, k), padding allowed behind.

        Raises:
            TrainingError: If an output that a threshold depends on is not a number.
        """
        by_input: list[npt.NDArray[Any]] = [np.empty(0)] * len(self.order)
        for place, values in zip(self.order, outputs, strict=True):
            by_input[place] = values
        rows = gather_outputs(self._encoded, by_input, self._head)
        head = self._head
        if head.task == "multi_label":
            wanted = indicate([row["labels"] for row in self._rows], head.labels)
            tuned = tune_thresholds(sigmoid(np.stack(rows)), wanted, head.labels)
            head = head.model_copy(update={"thresholds": [each.value for each in tuned]})
        predictions = self._task.read_out(rows, self._rows, head)
        return head, self._task.score(self._rows, predictions, head).values
