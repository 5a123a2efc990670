"""The loop: take requests in, advance all of them by one forward, report what each one got."""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from llm_endpoint.engines.continuous.lora import Lora, LoraModules
from llm_endpoint.engines.continuous.lora_file import read_lora
from llm_endpoint.engines.continuous.rows import Row, TokenHistory, new_generator
from llm_endpoint.engines.seam import CoreStep, Sampling


class RowModel(Protocol):
    """A model that advances rows; `PackedModel` and `SingleModel` are the two."""

    lora: LoraModules
    chunk_tokens: int | None
    """Tokens of prompts in one step; None reads one whole prompt in a step."""

    def place(self, row: Row) -> bool:
        """Take a row in; False if it must wait."""
        ...

    def share(self, row: Row) -> None:
        """Skip tokens of the prompt that another row has seen."""
        ...

    def release(self, row: Row) -> None:
        """End a row."""
        ...

    def run(self, pieces: Sequence[tuple[Row, int]]) -> Any:
        """Advance rows; logits of those that have nothing pending."""
        ...


class ContinuousCore:
    """Rows join and leave between two forwards; each forward advances all of them.

    Greedy tokens are those of `generate` on each row alone.
    """

    name = "transformers"
    precision = "fp32"

    def __init__(self, model: RowModel, max_running: int, context_length: int) -> None:
        self._model = model
        self._history = TokenHistory(max_running, context_length)
        self._waiting: deque[Row] = deque()
        self._running: list[Row] = []
        self.max_running, self.context_length = max_running, context_length

    def add(self, key: int, prompt_ids: Sequence[int], sampling: Sampling, stop_ids: frozenset[int]) -> None:
        """Take a request; it starts with the next step, or when there is room."""
        self.add_adapted(key, prompt_ids, sampling, stop_ids, None)

    def add_adapted(
        self,
        key: int,
        prompt_ids: Sequence[int],
        sampling: Sampling,
        stop_ids: frozenset[int],
        adapter: Lora | None,
    ) -> None:
        """The same, for the model with an adapter."""
        generator = new_generator(sampling.seed) if sampling.do_sample else None
        row = Row(key, list(prompt_ids), len(prompt_ids), sampling, stop_ids, generator, adapter=adapter)
        self._waiting.append(row)

    def read_adapter(self, folder: Path, largest_rank: int) -> Lora:
        """Read an adapter for this model; any thread may.

        Raises:
            ModelError: If it does not fit.
        """
        return read_lora(folder, self._model.lora.shapes(), largest_rank, self._model.lora.device)

    def step(self) -> list[CoreStep]:
        """Advance every row: one token for each answer, and a piece of the prompts that are still read."""
        self._admit()
        pieces = self._plan()
        if not pieces:
            return []
        logits = self._model.run(pieces)
        ready = [row for row, _ in pieces if not row.pending]
        tokens = dict(zip((row.key for row in ready), self._history.choose(ready, logits), strict=True))
        steps = [row.advance(tokens.get(row.key)) for row, _ in pieces]
        for (row, _), step in zip(pieces, steps, strict=True):
            if step.finish_reason is not None:
                self._release(row)
        return steps

    def cancel(self, key: int) -> None:
        """Forget a request; its room is free for the next step."""
        self._waiting = deque(row for row in self._waiting if row.key != key)
        for row in [row for row in self._running if row.key == key]:
            self._release(row)

    def close(self) -> None:
        """Free the model."""
        self._waiting.clear()
        self._running.clear()
        del self._model

    def _plan(self) -> list[tuple[Row, int]]:
        pieces = []
        room = self._model.chunk_tokens
        reading = False
        for row in self._running:
            count = row.pending
            if count > 1 and room is None:
                count, reading = (0 if reading else count), True
            elif count > 1 and room:
                self._model.share(row)
                count = min(row.pending, room)
                room -= count
            elif count > 1:
                count = 0
            if count:
                pieces.append((row, count))
        # rows of one adapter side by side share its products
        return sorted(pieces, key=lambda piece: id(piece[0].adapter))

    def _admit(self) -> None:
        while self._waiting and len(self._running) < self.max_running and self._model.place(self._waiting[0]):
            row = self._waiting.popleft()
            self._history.open(row)
            self._running.append(row)

    def _release(self, row: Row) -> None:
        self._running.remove(row)
        self._history.close(row)
        self._model.release(row)
