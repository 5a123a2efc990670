"""What a runtime of a model with a head must do."""

from typing import Any, Protocol

import numpy.typing as npt

Batch = dict[str, npt.NDArray[Any]]
"""`input_ids`, `attention_mask`, `token_type_ids`, int64, each of shape (inputs, tokens), padded on the right."""


class Runtime(Protocol):
    """A loaded model."""

    name: str
    """pytorch or onnxruntime."""
    precision: str
    """Of the weights: fp32 or int8."""
    lanes: int
    """Batches that may run at once, each called from a thread of its own."""

    def run(self, batch: Batch) -> npt.NDArray[Any]:
        """Logits: shape (inputs, k), or (inputs, tokens, k) for a model that tags words."""
        ...
