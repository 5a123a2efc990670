"""The pretraining gate: does the base model find facts about names it has never seen?"""

import random
from collections.abc import Iterator

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from components.starter.batches import stack, tokenize
from components.starter.documents import LOOKUP, WeightedText, draw_question, draw_scene, write_document
from components.starter.exercises import choose_open


def _write_probe(rng: random.Random, stated: bool) -> WeightedText:
    """Write a document with one answered question; only what the gate scores has a weight."""
    while True:
        scene = draw_scene(rng, "validation")
        open_question = choose_open(rng, scene)
        if stated or open_question:
            break
    text = WeightedText([("Text: ", 0.0), *write_document(rng, scene)[0].pieces, ("\nReview: ", 0.0)])
    text = WeightedText([(piece, 0.0) for piece, _ in text.pieces])
    if stated or not open_question:
        fact = rng.choice(scene.facts)
        text.add_filled(draw_question(rng, fact.attribute), fact.entity.name, "", (0.0, 0.0, 0.0))
        text.add(" The text", 0.0)
        text.add(" says", LOOKUP)
        phrase = rng.choice(fact.attribute.phrases)
        text.add_filled(" that {e} " + phrase, fact.entity.name, fact.value, (0.0, 0.0, LOOKUP))
    else:
        entity, attribute = open_question
        text.add_filled(draw_question(rng, attribute), entity.name, "", (0.0, 0.0, 0.0))
        text.add(" The text", 0.0)
        text.add(" does", LOOKUP)
    return text


def _chunks(texts: list[WeightedText], size: int) -> Iterator[list[WeightedText]]:
    for start in range(0, len(texts), size):
        yield texts[start : start + size]


@torch.no_grad()
def measure_gate(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, count: int = 150) -> tuple[float, float]:
    """Return the shares of stated facts found and of open questions declined, on unseen names."""
    shares = []
    for stated in (True, False):
        rng = random.Random(f"gate:{stated}")
        hits = 0
        for texts in _chunks([_write_probe(rng, stated) for _ in range(count)], 50):
            batch = stack(tokenize(tokenizer, texts), int(tokenizer.pad_token_id))
            predicted = model(input_ids=batch.input_ids).logits[:, :-1].argmax(-1)
            missed = (predicted != batch.input_ids[:, 1:]) & (batch.weights[:, 1:] == LOOKUP)
            hits += int((~missed.any(dim=1)).sum())
        shares.append(hits / count)
    return shares[0], shares[1]
