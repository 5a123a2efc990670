"""Low-rank adapters beside the weights of one model: each token of a forward is adapted by its own row's adapter."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from llm_endpoint.engines.continuous.rows import Row

Segment = tuple[int, int, "Lora"]
"""First and last place in the line, and the adapter of the tokens between them."""


@dataclass(frozen=True)
class LowRank:
    """What an adapter adds to one module: x A^T B^T times scale."""

    a: Any
    """Shape (rank, inputs)."""
    b: Any
    """Shape (outputs, rank)."""
    scale: float


@dataclass(eq=False)
class Lora:
    """One adapter in memory. It lives as long as something refers to it, so a drop never takes it from a request."""

    parts: dict[str, LowRank]
    """By the module's path in the model."""
    rank: int
    """The largest of its parts."""
    reached: set[str] = field(default_factory=set)
    """Modules whose output it has changed."""
    fault: str = ""
    """Why it cannot be applied, once that has been seen."""
    dropped: bool = False
    """No row begins with it any more, and nothing of its rows is kept."""


class LoraModules:
    """The modules of a model that adapters can add to.

    The model itself is not touched, so rows of the base get exactly what they get without adapters. All methods but
    `shapes` belong to the thread that runs the model.
    """

    def __init__(self, model: Any) -> None:
        from torch import nn
        from transformers.pytorch_utils import Conv1D

        # an expert sees some of the tokens, in an order of its own
        self._modules = {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear | Conv1D) and ".experts." not in name
        }
        self.device = model.device
        head = model.get_output_embeddings()
        self._head = next((name for name, module in self._modules.items() if module is head), "")
        self._conv = {name for name, module in self._modules.items() if isinstance(module, Conv1D)}
        self._hooked: set[str] = set()
        self._tokens = 0
        self._line: list[Segment] = []
        self._last: list[Segment] = []
        self._ends = 0

    def shapes(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of each module, by its path."""
        sizes = {name: tuple(module.weight.shape) for name, module in self._modules.items()}
        return {name: (one, two) if name in self._conv else (two, one) for name, (one, two) in sizes.items()}

    def begin(self, pieces: Sequence[tuple[Row, int]]) -> None:
        """Say whose tokens stand where in the next forward.

        Args:
            pieces: Rows in the order of the line, and how many tokens of each stand there.
        """
        self._line, self._last, self._tokens, self._ends = [], [], 0, 0
        for row, count in pieces:
            ends = row.pending == count
            if row.adapter is not None:
                self._hook(row.adapter)
                _extend(self._line, self._tokens, count, row.adapter)
                if ends:
                    _extend(self._last, self._ends, 1, row.adapter)
            self._tokens += count
            self._ends += ends

    def end(self) -> None:
        """The forward is over; what was dropped meanwhile can go."""
        self._line, self._last = [], []

    def _hook(self, lora: Lora) -> None:
        for name in lora.parts.keys() - self._hooked:
            self._modules[name].register_forward_hook(self._adder(name))
            self._hooked.add(name)

    def _segments_of(self, name: str, inputs: tuple[Any, ...]) -> list[Segment] | None:
        """Whose tokens stand where in what a module is given; None where that cannot be known."""
        if not inputs or inputs[0].dim() < 2:
            return None
        tokens = inputs[0].shape[-2]
        if tokens * inputs[0].shape[-1] != inputs[0].numel():
            return None
        if tokens == self._tokens:
            return self._line
        # the head may be asked for the last token of each row only
        return self._last if name == self._head and tokens == self._ends else None

    def _adder(self, name: str) -> Any:
        from torch.nn.functional import linear

        def add(module: Any, inputs: tuple[Any, ...], output: Any) -> None:
            if not self._line:
                return
            segments = self._segments_of(name, inputs)
            if segments is None:
                # not raised: other rows are in this forward, and their answers are right
                for lora in {lora for _, _, lora in self._line if name in lora.parts}:
                    lora.fault = f"{name} does not see the tokens of a request in their order"
                return
            for first, last, lora in segments:
                part = lora.parts.get(name)
                if part is not None:
                    asked = inputs[0][..., first:last, :]
                    output[..., first:last, :] += linear(linear(asked, part.a), part.b) * part.scale
                    lora.reached.add(name)

        return add


def _extend(segments: list[Segment], first: int, count: int, lora: Lora) -> None:
    """Add a stretch; one that goes on with the same adapter becomes part of the one before."""
    end = first + count
    if segments and segments[-1][2] is lora and segments[-1][1] == first:
        first = segments.pop()[0]
    segments.append((first, end, lora))
