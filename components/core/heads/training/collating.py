"""Inputs of a tokenized split as the batches that a model takes."""

from collections.abc import Sequence
from typing import Any

from components.core.heads.batches import pad
from components.core.tasks.heads import Head, HeadKind
from components.core.tasks.rendering import IGNORED_LABEL


class Collator:
    """Pads inputs and what they teach.

    Args:
        head: Of the model.
        kind: `token` has a label for each token; padding carries no loss.
        length: Tokens of every input; None takes the longest of the batch.
    """

    def __init__(self, head: Head, kind: HeadKind, length: int | None = None) -> None:
        self._head, self._kind, self._length = head, kind, length

    def __call__(self, inputs: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Tensors of a batch."""
        import torch

        arrays = pad(
            [each["input_ids"] for each in inputs],
            [each["token_type_ids"] for each in inputs],
            self._head,
            self._length,
        )
        batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
        labels = [each["labels"] for each in inputs]
        if self._kind == "token":
            width = arrays["input_ids"].shape[1]
            labels = [[*each, *[IGNORED_LABEL] * (width - len(each))] for each in labels]
        whole = self._kind == "token" or self._head.task == "single_label"
        return batch | {"labels": torch.tensor(labels, dtype=torch.int64 if whole else torch.float32)}
