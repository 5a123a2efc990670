"""Inputs of different lengths as padded arrays, and which of them go together so that little is padded."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from components.core.tasks.heads import Head

Batch = dict[str, npt.NDArray[np.int64]]
"""`input_ids`, `attention_mask` and, where the model takes them, `token_type_ids`; each of shape (inputs, tokens)."""


def pad(
    input_ids: Sequence[Sequence[int]], token_type_ids: Sequence[Sequence[int]], head: Head, length: int | None = None
) -> Batch:
    """Arrays of inputs, padded on the right: a causal model reads its answer off the last token.

    Args:
        input_ids: Of each input.
        token_type_ids: Of each input, as long; not looked at where the model takes none.
        head: Of the model.
        length: Tokens of every input; none takes the longest.
    """
    longest = length or max(map(len, input_ids))
    shape = (len(input_ids), longest)
    batch = {"input_ids": np.full(shape, head.pad_token_id, dtype=np.int64)}
    batch["attention_mask"] = np.zeros(shape, dtype=np.int64)
    if head.token_type_ids:
        batch["token_type_ids"] = np.zeros(shape, dtype=np.int64)
    for place, ids in enumerate(input_ids):
        batch["input_ids"][place, : len(ids)] = ids
        batch["attention_mask"][place, : len(ids)] = 1
        if head.token_type_ids:
            batch["token_type_ids"][place, : len(ids)] = token_type_ids[place]
    return batch


def plan_by_length(lengths: Sequence[int], tokens_per_batch: int, most: int | None = None) -> list[list[int]]:
    """Batches of inputs of like length, the longest first, so that memory runs out at the start or not at all.

    Args:
        lengths: Tokens of each input.
        tokens_per_batch: Most tokens of a batch, padding counted; a longer input is a batch of its own.
        most: Most inputs of a batch.

    Returns:
        Places in `lengths`, by batch.
    """
    batches: list[list[int]] = []
    room = 0
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        # the first of a batch is its longest, so it decides how many fit
        if room < 1:
            batches.append([])
            room = max(1, min(tokens_per_batch // lengths[place], most or len(lengths)))
        batches[-1].append(place)
        room -= 1
    return batches
