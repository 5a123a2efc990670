"""One running request, and how its next token is chosen."""

from dataclasses import dataclass
from typing import Any

from llm_endpoint.engines.seam import CoreStep, FinishReason, Sampling

USUAL_CANDIDATES = 1024
"""Tokens that top_p looks at first; sorting a whole vocabulary takes longer than the model."""


@dataclass(eq=False)
class Row:
    """A request between `add` and its last token."""

    key: int
    ids: list[int]
    """Prompt, and the answer as far as it is known."""
    prompt_length: int
    sampling: Sampling
    stop_ids: frozenset[int]
    generator: Any
    """Of torch; its own, so that a seed gives the same tokens whatever else runs."""
    done: int = 0
    """Tokens that the model has seen."""
    cached: int = 0
    """Tokens of the prompt that were seen by an earlier row."""
    reported: bool = False
    start: int = 0
    """Place of the first token in the key/value memory."""
    adapter: Any = None
    """A Lora; None for the model as it is."""
    slot: int = -1
    """Line of the history that holds its tokens."""

    @property
    def need(self) -> int:
        """Tokens of prompt and longest answer."""
        return self.prompt_length + self.sampling.max_new_tokens

    @property
    def pending(self) -> int:
        """Tokens that are known but not yet seen by the model."""
        return len(self.ids) - self.done

    def advance(self, token: int | None) -> CoreStep:
        """Report a step that ended with this token, or with none while the prompt is still being read."""
        reason: FinishReason | None = None
        new: tuple[int, ...] = ()
        if token is not None and token in self.stop_ids:
            reason = "stop"
        elif token is not None:
            new = (token,)
            self.ids.append(token)
            if len(self.ids) >= self.need:
                reason = "length"
        cached = None if self.reported or token is None else self.cached
        self.reported = self.reported or token is not None
        return CoreStep(self.key, new, reason, cached)


def new_generator(seed: int | None) -> Any:
    """A random source of one request; no seed draws one."""
    import torch

    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed % 2**63)
    return generator


class TokenHistory:
    """The tokens of every row in one tensor, so that the repetition penalty of all rows is a single operation."""

    def __init__(self, rows: int, length: int) -> None:
        import torch

        self._tokens = torch.zeros(rows, length, dtype=torch.long)
        self._free = list(range(rows))

    def open(self, row: Row) -> None:
        """Give the row a line."""
        import torch

        row.slot = self._free.pop()
        # the rest repeats a token that is in the row anyway, so padding changes nothing
        self._tokens[row.slot] = row.ids[0]
        self._tokens[row.slot, : len(row.ids)] = torch.tensor(row.ids)

    def close(self, row: Row) -> None:
        """Take the line back."""
        self._free.append(row.slot)

    def choose(self, rows: list[Row], logits: Any) -> list[int]:
        """Choose the next token of each row: penalty, temperature, top_k, top_p, as transformers does.

        Args:
            rows: Rows, in the order of the logits.
            logits: Shape (rows, vocabulary).
        """
        import torch

        scores = logits.float()
        penalties = [row.sampling.repetition_penalty for row in rows]
        if any(penalty != 1 for penalty in penalties):
            seen = self._tokens[[row.slot for row in rows], : max(len(row.ids) for row in rows)]
            penalty = torch.tensor(penalties)[:, None]
            old = scores.gather(1, seen)
            scores = scores.scatter(1, seen, torch.where(old < 0, old * penalty, old / penalty))
        tokens: list[int] = scores.argmax(-1).tolist()
        for index, row in enumerate(rows):
            if row.sampling.do_sample:
                tokens[index] = draw_token(scores[index], row.sampling, row.generator)
            if len(row.ids) < row.need:
                self._tokens[row.slot, len(row.ids)] = tokens[index]
        return tokens


def draw_token(scores: Any, sampling: Sampling, generator: Any) -> int:
    """Draw one token from scores of shape (vocabulary,)."""
    import torch

    # a penalty may have driven scores to infinity, and a small temperature would
    scores = scores.nan_to_num()
    chances = ((scores - scores.max()) / sampling.temperature).softmax(-1)
    if sampling.top_k == 0 and sampling.top_p >= 1:
        return int(torch.multinomial(chances, 1, generator=generator))
    best, ids = chances.topk(min(sampling.top_k or USUAL_CANDIDATES, len(chances)))
    if sampling.top_k:
        best = best / best.sum()
    elif best.sum() < sampling.top_p:
        best, ids = chances.sort(descending=True)
    # a token stays while those before it have less than top_p together
    best = best.masked_fill(best.cumsum(-1) - best >= sampling.top_p, 0)
    return int(ids[torch.multinomial(best, 1, generator=generator)])
