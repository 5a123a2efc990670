"""Whether a converted model says what transformers says: a conversion that differs must not be served."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llm_endpoint.engines.openvino.export import NotConvertible
from llm_endpoint.engines.seam import Core, Sampling

PENALTIES = (1.0, 1.03)
"""Repetition penalties that are compared; the second round also reads the first one's prompts from the prefix cache."""
NEW_TOKENS = 16
TIE = 1e-4
"""Two best scores that are closer than this, times the best one's size where that is above 1, may come in any order:
fp32 sums differ by about a tenth of it when they are added up in another order."""


@dataclass(frozen=True)
class Equality:
    """What was compared."""

    prompts: int
    tokens: int
    ties: int
    """Answers that were compared only up to two tokens with the same score."""


def sample_prompts(config: Any, context_length: int) -> list[list[int]]:
    """Random token ids of different lengths: around a block's border, several steps long, and past a sliding window."""
    lengths = {1, 7, 31, 32, 65, 150, 300}
    window = getattr(config, "sliding_window", None)
    if window:
        lengths.add(window + 40)
    longest = context_length - NEW_TOKENS
    generator = random.Random(1)
    return [
        [generator.randrange(config.vocab_size) for _ in range(length)]
        for length in sorted({min(length, longest) for length in lengths})
    ]


def check_equality(core: Core, model: Any, prompts: Sequence[Sequence[int]]) -> Equality:
    """Generate greedily with both, all prompts at once, and compare every token.

    Args:
        core: Over the converted model, able to run all prompts at once.
        model: The transformers model.
        prompts: Token ids.

    Raises:
        NotConvertible: If a token differs where the scores were not tied, or if ties left too little to compare.
    """
    tokens = ties = 0
    for penalty in PENALTIES:
        answers = generate(core, prompts, penalty)
        for prompt, answer in zip(prompts, answers, strict=True):
            expected, scores = _expected(model, prompt, penalty)
            different = next(
                (i for i, pair in enumerate(zip(expected, answer, strict=True)) if pair[0] != pair[1]), None
            )
            if different is None:
                tokens += len(expected)
                continue
            best, other = float(scores[different].max()), float(scores[different][answer[different]])
            if best - other > TIE * max(1.0, abs(best)):
                where = f"prompt of {len(prompt)} tokens, repetition_penalty {penalty}, token {different + 1}"
                raise NotConvertible(f"its tokens differ from transformers' ({where})")
            ties += 1
    if tokens < len(PENALTIES) * len(prompts) * NEW_TOKENS / 2:
        raise NotConvertible(f"only {tokens} tokens could be compared with transformers', the others were tied")
    return Equality(len(prompts), tokens, ties)


def shared_length(left: Sequence[int], right: Sequence[int]) -> int:
    """Tokens before the first difference of two answers of one length."""
    return next((i for i, pair in enumerate(zip(left, right, strict=True)) if pair[0] != pair[1]), len(left))


def generate(core: Core, prompts: Sequence[Sequence[int]], penalty: float) -> list[list[int]]:
    """Continue all prompts at once, greedily, `NEW_TOKENS` tokens each."""
    answers: list[list[int]] = [[] for _ in prompts]
    for key, prompt in enumerate(prompts):
        core.add(key, prompt, Sampling(max_new_tokens=NEW_TOKENS, repetition_penalty=penalty), frozenset())
    running = len(prompts)
    while running:
        for step in core.step():
            answers[step.key] += step.token_ids
            running -= step.finish_reason is not None
    return answers


def _expected(model: Any, prompt: Sequence[int], penalty: float) -> tuple[list[int], Any]:
    """Transformers' tokens, and the scores behind each: NEW_TOKENS x vocabulary."""
    import torch
    from transformers import GenerationConfig

    own, model.generation_config = (
        model.generation_config,
        GenerationConfig(),
    )  # its defaults would fill in an end token
    try:
        with torch.no_grad():
            output = model.generate(
                torch.tensor([prompt]),
                attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                generation_config=GenerationConfig(
                    do_sample=False,
                    max_new_tokens=NEW_TOKENS,
                    repetition_penalty=penalty,
                    eos_token_id=None,
                    pad_token_id=0,
                    output_scores=True,
                    return_dict_in_generate=True,
                ),
            )
    finally:
        model.generation_config = own
    return output.sequences[0, len(prompt) :].tolist(), torch.cat(output.scores)
