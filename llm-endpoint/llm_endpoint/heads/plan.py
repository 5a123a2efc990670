"""Which inputs go through the model together, and the arrays that they become."""

from collections.abc import Sequence

import numpy as np

from llm_endpoint.engines.heads.seam import Batch
from llm_endpoint.heads.encoding import Piece

_MOST_PADDING = 1.25
"""Tokens of a batch, padding included, by its real tokens."""
_FREE_TOKENS = 256
"""Up to here a batch costs about what its weights cost to read, so padding is free."""


def choose(lengths: Sequence[int], first: int, most_tokens: int) -> list[int]:
    """Inputs that go with the first one: those of the most similar length, while little is padded.

    Args:
        lengths: Tokens of each input that waits.
        first: Place of the one that must go now; alone if it has more tokens than a batch may have.
        most_tokens: Of a batch, padding included.

    Returns:
        Places, `first` included.
    """
    chosen, longest, real = [first], lengths[first], lengths[first]
    others = (place for place in range(len(lengths)) if place != first)
    for place in sorted(others, key=lambda place: abs(lengths[place] - lengths[first])):
        longest_then, real_then = max(longest, lengths[place]), real + lengths[place]
        padded = longest_then * (len(chosen) + 1)
        if padded > most_tokens or (padded > _FREE_TOKENS and padded > _MOST_PADDING * real_then):
            break
        chosen.append(place)
        longest, real = longest_then, real_then
    return chosen


def pad(pieces: Sequence[Piece], pad_token_id: int) -> Batch:
    """Padded on the right: a causal model reads its answer off the last token."""
    shape = (len(pieces), max(len(piece.input_ids) for piece in pieces))
    batch = {
        "input_ids": np.full(shape, pad_token_id, dtype=np.int64),
        "attention_mask": np.zeros(shape, dtype=np.int64),
        "token_type_ids": np.zeros(shape, dtype=np.int64),
    }
    for place, piece in enumerate(pieces):
        length = len(piece.input_ids)
        batch["input_ids"][place, :length] = piece.input_ids
        batch["attention_mask"][place, :length] = 1
        batch["token_type_ids"][place, :length] = piece.token_type_ids
    return batch
