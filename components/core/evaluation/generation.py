"""Greedy generation for a whole test set: our own loop, because rows that have finished leave the batch.

The tokens are those of `model.generate(do_sample=False)` on each row alone. Rows are sorted by length and batched under
a token budget; the batch shrinks as rows finish, so a few long answers do not hold up the rest.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

_SHRINK_AT = 0.125
"""Share of finished rows at which copying the cache without them costs less than carrying them."""

_PROGRESS_SECONDS = 5.0
_BYTE_NEWLINES = ("Ċ", "<0x0A>", "\n")
_BLANK_MARKS = "ĠĊčĉ▁ \n\r\t"


@dataclass(frozen=True)
class StopRule:
    """When an answer is complete."""

    token_ids: frozenset[int]
    """End-of-sequence and end-of-turn tokens."""
    newline_ids: frozenset[int] = frozenset()
    """Tokens with a line break; they end an answer that has already said something. Empty: line breaks are text."""
    blank_ids: frozenset[int] = frozenset()
    """Tokens of white space only; a line break after nothing else does not end the answer."""


def stop_rule(model: Any, tokenizer: Any, turn_ends: Sequence[int], one_line: bool) -> StopRule:
    """What ends an answer of this model.

    Args:
        model: Its configuration and generation configuration name end tokens.
        tokenizer: Names another one, and spells line breaks.
        turn_ends: What the prompt's layout ends an answer with.
        one_line: True: a line break ends an answer too.
    """
    ends = {tokenizer.eos_token_id, *turn_ends}
    for config in (model.config, getattr(model, "generation_config", None)):
        found = getattr(config, "eos_token_id", None)
        ends.update(found if isinstance(found, list) else [found])
    token_ids = frozenset(ends - {None})
    if not one_line:
        return StopRule(token_ids)
    vocabulary = tokenizer.get_vocab()
    newlines = {number for text, number in vocabulary.items() if any(mark in text for mark in _BYTE_NEWLINES)}
    blanks = {number for text, number in vocabulary.items() if not text.replace("<0x0A>", "").strip(_BLANK_MARKS)}
    return StopRule(token_ids, frozenset(newlines), frozenset(blanks))


def plan_batches(lengths: Sequence[int], tokens_per_batch: int, max_new_tokens: int) -> Iterator[list[int]]:
    """Positions of the rows of each batch, longest first; padding and new tokens count towards the budget."""
    order = sorted(range(len(lengths)), key=lambda position: -lengths[position])
    batch: list[int] = []
    for position in order:
        widest = lengths[batch[0]] if batch else lengths[position]
        if batch and (len(batch) + 1) * (widest + max_new_tokens) > tokens_per_batch:
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch


def generate_greedy(
    model: Any,
    prompts: Sequence[Sequence[int]],
    stop: StopRule,
    max_new_tokens: int,
    tokens_per_batch: int,
    name: str = "model",
    repetition_penalty: float = 1.0,
) -> list[list[int]]:
    """The most likely continuation of each prompt, token by token, in the order of the prompts.

    Args:
        model: A causal language model in evaluation mode.
        prompts: Token ids; an empty prompt gets an empty answer.
        stop: What ends an answer; the token that ends it is not part of it.
        max_new_tokens: Longest answer, in tokens.
        tokens_per_batch: Rows times tokens (prompt and answer, padding counted) held at once; a longer row goes alone.
        name: What the progress line calls the model.
        repetition_penalty: Divides positive and multiplies negative logits of tokens that stand in prompt or answer.
    """
    import torch

    asked = [position for position, prompt in enumerate(prompts) if prompt]
    answers: list[list[int]] = [[] for _ in prompts]
    report = _progress(name, len(asked))
    done = 0
    with torch.inference_mode():
        for batch in plan_batches([len(prompts[position]) for position in asked], tokens_per_batch, max_new_tokens):
            positions = [asked[number] for number in batch]
            batch_prompts = [prompts[position] for position in positions]
            found = _generate_batch(model, batch_prompts, stop, max_new_tokens, repetition_penalty)
            for position, answer in zip(positions, found, strict=True):
                answers[position] = answer
            done += len(positions)
            report(done)
    return answers


def _progress(name: str, rows: int) -> Callable[[int], None]:
    started = last = time.monotonic()

    def report(done: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _PROGRESS_SECONDS:
            last = now
            logger.info("%s: answered %d of %d rows (%.0f rows/s)", name, done, rows, done / (now - started))

    return report


def _generate_batch(
    model: Any, prompts: Sequence[Sequence[int]], stop: StopRule, max_new_tokens: int, repetition_penalty: float
) -> list[list[int]]:
    import torch
    from transformers import DynamicCache

    device = model.device
    width = max(len(prompt) for prompt in prompts)
    # Any id will do as padding: it is masked out.
    input_ids = torch.zeros((len(prompts), width), dtype=torch.long)
    mask = torch.zeros((len(prompts), width + max_new_tokens), dtype=torch.long)
    for row, prompt in enumerate(prompts):
        input_ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    input_ids, mask = input_ids.to(device), mask.to(device)
    position_ids = (mask[:, :width].cumsum(1) - 1).clamp(min=0)
    tables = _stop_tables(stop, model.config.get_text_config().vocab_size, device)
    cache = DynamicCache(config=model.config)
    penalty = _Penalty(prompts, tables[0].numel(), repetition_penalty, device)
    rows = torch.arange(len(prompts), device=device)
    spoken = torch.zeros(len(prompts), dtype=torch.bool, device=device)
    finished = torch.zeros_like(spoken)
    tokens = torch.full((len(prompts), max_new_tokens), -1, dtype=torch.long, device=device)
    for step in range(max_new_tokens):
        output = model(
            input_ids=input_ids,
            attention_mask=mask[:, : width + step],
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        chosen = penalty.apply(output.logits[:, -1]).argmax(-1)
        penalty.note(chosen)
        ends, newline, blank = (table[chosen] for table in tables)
        spoken |= ~blank
        finished |= ends
        # A token that ends the answer is left out, but one like ".\n" may hold the answer's last words.
        tokens[rows[~finished], step] = chosen[~finished]
        finished |= newline & spoken
        left = int((~finished).sum())
        if left == 0:
            break
        position_ids = position_ids[:, -1:] + 1
        input_ids = chosen[:, None]
        if left <= (1 - _SHRINK_AT) * len(rows):
            kept = (~finished).nonzero().squeeze(1)
            cache.batch_select_indices(kept)
            input_ids, position_ids, mask = input_ids[kept], position_ids[kept], mask[kept]
            rows, spoken, finished = rows[kept], spoken[kept], finished[kept]
            penalty.keep(kept)
    return [[token for token in row if token >= 0] for row in tokens.tolist()]


class _Penalty:
    """The repetition penalty of CTRL (Keskar et al. 2019), as transformers applies it."""

    def __init__(
        self, prompts: Sequence[Sequence[int]], vocabulary: int, factor: float, device: "torch.device"
    ) -> None:
        import torch

        self._factor = factor
        self._seen = torch.zeros((len(prompts), vocabulary if factor != 1.0 else 0), dtype=torch.bool, device=device)
        if factor != 1.0:
            for row, prompt in enumerate(prompts):
                self._seen[row, torch.tensor(prompt, device=device)] = True

    def apply(self, logits: "torch.Tensor") -> "torch.Tensor":
        """Logits of shape (rows, vocabulary) with those of seen tokens lowered."""
        import torch

        if self._factor == 1.0:
            return logits
        lowered = torch.where(logits > 0, logits / self._factor, logits * self._factor)
        return torch.where(self._seen, lowered, logits)

    def note(self, chosen: "torch.Tensor") -> None:
        """Remember the next token of each row."""
        if self._factor != 1.0:
            self._seen.scatter_(1, chosen[:, None], True)

    def keep(self, kept: "torch.Tensor") -> None:
        """Go on with some of the rows."""
        self._seen = self._seen[kept]


def _stop_tables(stop: StopRule, vocabulary: int, device: "torch.device") -> list["torch.Tensor"]:
    """One yes or no for each token id: ends the answer, breaks the line, is white space."""
    import torch

    tables = []
    for ids in (stop.token_ids, stop.newline_ids, stop.blank_ids):
        table = torch.zeros(vocabulary, dtype=torch.bool, device=device)
        table[[number for number in ids if number < vocabulary]] = True
        tables.append(table)
    return tables
