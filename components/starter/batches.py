"""Pretraining batches: weighted exercises, tokenized and put together by length."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from components.starter.documents import PROSE, WeightedText
from components.starter.exercises import write_copy_exercise, write_list_exercise, write_reading_exercise
from components.starter.tokenizer import MAX_LENGTH

POOL_SIZE = 768
DRILLS = (write_copy_exercise, write_list_exercise)
LENGTH_STEP = 32
"""Few different shapes: the matrix library compiles a kernel for each."""
LONG_SHARE = 0.03
LIST_SHARE_START, LIST_SHARE_END, LIST_FADE_TOKENS = 0.8, 0.1, 3_000_000


@dataclass(frozen=True)
class Batch:
    """Token ids, shape (rows, length), and the loss weight of predicting each, same shape."""

    input_ids: torch.Tensor
    weights: torch.Tensor
    tokens: int
    """How many of the ids are not padding."""


Row = tuple[list[int], np.ndarray]


def tokenize(tokenizer: PreTrainedTokenizerFast, texts: list[WeightedText]) -> list[Row]:
    """Turn weighted texts into token ids, ended by EOS, and one weight per token."""
    encodings = tokenizer.backend_tokenizer.encode_batch([text.text for text in texts])
    rows: list[Row] = []
    for text, encoding in zip(texts, encodings, strict=True):
        lengths = [len(piece) for piece, _ in text.pieces]
        by_character = np.repeat([weight for _, weight in text.pieces], lengths)
        ends = np.array([end for _, end in encoding.offsets])
        weights = np.append(by_character[ends - 1], PROSE)
        rows.append(([*encoding.ids, tokenizer.eos_token_id], weights.astype(np.float32)))
    return rows


def stack(rows: list[Row], pad_id: int) -> Batch:
    """Pad rows on the right to a common length, a multiple of LENGTH_STEP."""
    length = -(-max(len(ids) for ids, _ in rows) // LENGTH_STEP) * LENGTH_STEP
    input_ids = torch.full((len(rows), length), pad_id)
    weights = torch.zeros(len(rows), length)
    for index, (ids, row_weights) in enumerate(rows):
        input_ids[index, : len(ids)] = torch.tensor(ids)
        weights[index, : len(ids)] = torch.from_numpy(row_weights)
    return Batch(input_ids, weights, sum(len(ids) for ids, _ in rows))


def list_share(tokens_seen: int) -> float:
    """Return the share of list exercises, which fade out once copying is learned."""
    progress = min(1.0, tokens_seen / LIST_FADE_TOKENS)
    return LIST_SHARE_START + (LIST_SHARE_END - LIST_SHARE_START) * progress


def join_some(rng: random.Random, rows: list[Row]) -> list[Row]:
    """Join a few rows into long ones, so that every position up to MAX_LENGTH is trained."""
    count = round(len(rows) * LONG_SHARE)
    taken, kept = rows[:count], rows[count:]
    for ids, weights in taken:
        partner = rng.randrange(len(kept))
        if len(ids) + len(kept[partner][0]) <= MAX_LENGTH:
            kept[partner] = (kept[partner][0] + ids, np.append(kept[partner][1], weights))
        else:
            kept.append((ids, weights))
    return kept


def iterate_batches(
    tokenizer: PreTrainedTokenizerFast, batch_tokens: int, seed: str, tokens_seen: int = 0
) -> Iterator[Batch]:
    """Yield batches of about `batch_tokens` tokens without end; no text is used twice.

    Args:
        tokenizer: The starter's tokenizer.
        batch_tokens: Tokens in a batch, padding included.
        seed: Together with `tokens_seen` at the start of each pool, decides every text.
        tokens_seen: Tokens already trained on, for a run that continues an earlier one.
    """
    waiting: dict[int, list[Row]] = {}
    while True:
        rng = random.Random(f"{seed}:{tokens_seen}")
        share = list_share(tokens_seen)
        texts = [
            (rng.choice(DRILLS) if rng.random() < share else write_reading_exercise)(rng) for _ in range(POOL_SIZE)
        ]
        groups: list[list[Row]] = []
        for row in join_some(rng, tokenize(tokenizer, texts)):
            length = -(-len(row[0]) // LENGTH_STEP) * LENGTH_STEP
            group = waiting.setdefault(length, [])
            group.append(row)
            if (len(group) + 1) * length > batch_tokens:
                groups.append(waiting.pop(length))
        rng.shuffle(groups)
        for group in groups:
            batch = stack(group, int(tokenizer.pad_token_id))
            tokens_seen += batch.tokens
            yield batch
