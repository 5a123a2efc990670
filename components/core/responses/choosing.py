"""How the next token of each row is chosen: the likeliest, or drawn from a source of the row's own."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

USUAL_CANDIDATES = 1024
"""Tokens that top_p looks at first; sorting a whole vocabulary takes longer than a small model."""


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn."""

    do_sample: bool
    temperature: float
    top_p: float
    repetition_penalty: float
    seed: int

    def source(self, row: int, repeat: int) -> random.Random:
        """Random numbers of one answer; those of others do not change them, nor does the order of the work."""
        return random.Random(f"{self.seed}/{row}/{repeat}")


def choose(logits: Any, seen: Any, sources: Sequence[random.Random], sampling: Sampling) -> list[int]:
    """The next token of each row.

    Args:
        logits: Shape (rows, vocabulary).
        seen: Booleans of that shape: tokens that stand in prompt or answer; None without a penalty.
        sources: Of each row.
        sampling: How.
    """
    import torch

    scores = logits.float()
    if seen is not None:
        penalty = sampling.repetition_penalty
        scores = torch.where(seen, torch.where(scores > 0, scores / penalty, scores * penalty), scores)
    if not sampling.do_sample:
        chosen: list[int] = scores.argmax(-1).tolist()
        return chosen
    # a penalty may have driven scores to infinity, and a small temperature would
    scores = scores.nan_to_num()
    chances = ((scores - scores.amax(-1, keepdim=True)) / sampling.temperature).softmax(-1)
    drawn = torch.tensor([source.random() for source in sources], dtype=torch.float64, device=logits.device)[:, None]
    if sampling.top_p >= 1:
        return _place(chances, drawn)
    best, ids = chances.topk(min(USUAL_CANDIDATES, chances.shape[-1]))
    if float(best.sum(-1).min()) < sampling.top_p:
        best, ids = chances.sort(descending=True)
    # a token stays while those before it have less than top_p together
    best = best.masked_fill(best.cumsum(-1) - best >= sampling.top_p, 0)
    places = torch.tensor(_place(best, drawn), device=logits.device)[:, None]
    found: list[int] = ids.gather(-1, places)[:, 0].tolist()
    return found


def _place(weights: Any, drawn: Any) -> list[int]:
    """Where a number between 0 and 1 falls, of each row."""
    sums = weights.double().cumsum(-1)
    total = sums[:, -1:]
    places: list[int] = (sums <= drawn * total).sum(-1).clamp(max=weights.shape[-1] - 1).tolist()
    return places
