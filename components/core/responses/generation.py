"""Answers to many prompts in continuous batches: a row that has ended leaves, and the next prompt takes its place.

The copies of one prompt share its prefill. Greedy tokens are those of `model.generate` on each row alone; drawn ones
depend on the row and its repeat only, not on the batch.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

from components.core.errors import ConfigError, StorageError
from components.core.evaluation.generation import StopRule
from components.core.responses.choosing import Sampling, choose
from components.core.responses.slots import Slots

PREFILL_TOKENS = 4096
"""Tokens of prompts in one forward, padding counted; a longer prompt goes alone."""


@dataclass(frozen=True)
class Job:
    """A prompt and which of its answers are wanted."""

    row: int
    ids: Sequence[int]
    repeats: Sequence[int]


@dataclass(frozen=True)
class Answered:
    """A finished answer."""

    row: int
    repeat: int
    token_ids: list[int]


@dataclass
class _Row:
    row: int
    repeat: int
    source: random.Random
    tokens: list[int] = field(default_factory=list)
    spoken: bool = False

    def take(self, token: int, stop: StopRule, max_new_tokens: int) -> bool:
        """Note a token; True if it was the last."""
        if token in stop.token_ids:
            return True
        # a token like ".\n" may hold the answer's last words
        self.tokens.append(token)
        self.spoken = self.spoken or token not in stop.blank_ids
        return (token in stop.newline_ids and self.spoken) or len(self.tokens) >= max_new_tokens


class Generator:
    """Answers prompts with one model.

    Args:
        model: A causal language model in evaluation mode.
        stop: What ends an answer; the token that ends it is not part of it.
        sampling: How tokens are chosen.
        max_new_tokens: Longest answer, in tokens.
        prompts_at_once: Prompts that are answered at once, each with all its answers.

    Raises:
        ConfigError: If the model keeps something else than keys and values of its tokens.
    """

    def __init__(
        self, model: Any, stop: StopRule, sampling: Sampling, max_new_tokens: int, prompts_at_once: int
    ) -> None:
        _check_kind(model)
        self._model, self._stop, self._sampling = model, stop, sampling
        self._max_new_tokens, self._prompts_at_once = max_new_tokens, prompts_at_once
        self._rows: list[_Row] = []
        self._slots: Slots | None = None
        self._seen: Any = None
        self._size = 0
        """Rows that fit."""
        self._longest = 0

    def answer(self, jobs: Sequence[Job]) -> Iterator[Answered]:
        """Every answer as it is finished; the longest prompts come first, so that the batch never has to be widened.

        Raises:
            ConfigError: If the batch does not fit into memory.
            StorageError: If the model's scores are not numbers.
        """
        import torch

        waiting = sorted(jobs, key=lambda job: len(job.ids))
        self._longest = len(waiting[-1].ids) + self._max_new_tokens if waiting else 0
        self._size = self._prompts_at_once * max((len(job.repeats) for job in jobs), default=0)
        try:
            while waiting or self._rows:
                with torch.inference_mode():
                    finished = self._admit(waiting) or self._step()
                yield from finished
        except torch.OutOfMemoryError as error:
            raise ConfigError(
                f"inference_bs={self._prompts_at_once} ({self._size} answers at once) does not fit into memory. Lower "
                "it or max_new_tokens."
            ) from error
        finally:
            self._rows, self._slots, self._seen = [], None, None

    def _admit(self, waiting: list[Job]) -> list[Answered]:
        """Read the prompts for which there is room; a first token may be the last."""
        batch: list[Job] = []
        room = self._size - len(self._rows)
        while waiting and len(waiting[-1].repeats) <= room:
            if batch and (len(batch) + 1) * len(batch[0].ids) > PREFILL_TOKENS:
                break
            batch.append(waiting.pop())
            room -= len(batch[-1].repeats)
        if not batch:
            return []
        layers, logits = self._read(batch)
        if self._slots is None:
            self._slots = Slots(layers, self._size, self._longest)
        finished: list[Answered] = []
        for place, job in enumerate(batch):
            finished += self._start(job, place, layers, logits[place])
        return finished

    def _read(self, batch: Sequence[Job]) -> tuple[list[tuple[Any, Any]], Any]:
        """Keys and values of prompts, and the scores of their next tokens."""
        import torch
        from transformers import DynamicCache

        width, device = len(batch[0].ids), self._model.device
        ids = torch.zeros((len(batch), width), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for place, job in enumerate(batch):
            ids[place, width - len(job.ids) :] = torch.tensor(job.ids)
            mask[place, width - len(job.ids) :] = 1
        # without the model's configuration every layer keeps all tokens, windows are left to the mask
        cache = DynamicCache()
        output = self._model(
            input_ids=ids.to(device), attention_mask=mask.to(device), past_key_values=cache, use_cache=True,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0).to(device), logits_to_keep=1,
        )  # fmt: skip
        return [(layer.keys, layer.values) for layer in cache.layers], output.logits[:, -1]

    def _start(self, job: Job, place: int, layers: Sequence[tuple[Any, Any]], logits: Any) -> list[Answered]:
        assert self._slots is not None
        rows = [_Row(job.row, repeat, self._sampling.source(job.row, repeat)) for repeat in job.repeats]
        seen = self._prompt_seen(job, logits)
        tokens = self._choose(logits[None].expand(len(rows), -1), seen, rows)
        ended = [row.take(token, self._stop, self._max_new_tokens) for row, token in zip(rows, tokens, strict=True)]
        going = [row for row, end in zip(rows, ended, strict=True) if not end]
        if going:
            prompt = [(keys[place, :, -len(job.ids) :], values[place, :, -len(job.ids) :]) for keys, values in layers]
            first = len(self._rows)
            self._slots.join(prompt, len(going))
            self._rows += going
            if seen is not None:
                self._remember(seen, first, going)
        return [Answered(row.row, row.repeat, row.tokens) for row, end in zip(rows, ended, strict=True) if end]

    def _step(self) -> list[Answered]:
        """Advance every row by one token."""
        import torch

        assert self._slots is not None
        last = torch.tensor([[row.tokens[-1]] for row in self._rows], device=self._model.device)
        output = self._model(input_ids=last, use_cache=True, logits_to_keep=1, **self._slots.inputs())
        self._slots.advanced()
        seen = None if self._seen is None else self._seen[: len(self._rows)]
        tokens = self._choose(output.logits[:, -1], seen, self._rows)
        if seen is not None:
            seen.scatter_(1, torch.tensor(tokens, device=seen.device)[:, None], True)
        finished = []
        for place in reversed(range(len(self._rows))):
            row = self._rows[place]
            if row.take(tokens[place], self._stop, self._max_new_tokens):
                finished.append(Answered(row.row, row.repeat, row.tokens))
                self._leave(place)
        return finished

    def _leave(self, place: int) -> None:
        assert self._slots is not None
        self._slots.leave(place)
        last = self._rows.pop()
        if place < len(self._rows):
            self._rows[place] = last
            if self._seen is not None:
                self._seen[place] = self._seen[len(self._rows)]

    def _choose(self, logits: Any, seen: Any, rows: Sequence[_Row]) -> list[int]:
        if bool(logits.isnan().any()):
            raise StorageError("the model's scores are not numbers: its weights are broken. Train it again.")
        return choose(logits, seen, [row.source for row in rows], self._sampling)

    def _prompt_seen(self, job: Job, logits: Any) -> Any:
        import torch

        if self._sampling.repetition_penalty == 1:
            return None
        seen = torch.zeros(1, logits.shape[-1], dtype=torch.bool, device=logits.device)
        seen[0, torch.tensor(job.ids, device=logits.device)] = True
        return seen

    def _remember(self, seen: Any, first: int, rows: Sequence[_Row]) -> None:
        if self._seen is None:
            self._seen = seen.new_zeros(self._size, seen.shape[-1])
        self._seen[first : first + len(rows)] = seen
        for place, row in enumerate(rows, start=first):
            self._seen[place, row.tokens[-1]] = True


def _check_kind(model: Any) -> None:
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    takes_cache = "past_key_values" in signature(type(model).forward).parameters
    if takes_cache and all(isinstance(layer, DynamicLayer) for layer in DynamicCache(config=model.config).layers):
        return
    raise ConfigError(
        f"a model of the kind {model.config.model_type} keeps a state that is not of its tokens, so that its rows "
        "cannot be answered in one batch. Name a model with attention in every layer, or serve it and ask the endpoint."
    )
