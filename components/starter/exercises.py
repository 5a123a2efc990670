"""Pretraining texts: a document and then its restatements, or lists repeated in another order."""

import random

from components.starter.documents import (
    COPY,
    LOOKUP,
    PROSE,
    TEMPLATE,
    UNKNOWABLE,
    Entity,
    Fact,
    Scene,
    WeightedText,
    draw_question,
    draw_scene,
    draw_value,
    write_document,
)
from components.starter.kinds import KINDS
from components.starter.names import Split
from components.starter.schema import WORDS, Attribute

HEADINGS = ("Notes:", "Text:", "Report:", "Story:")
REVIEWS = ("Review:", "Summary:", "Recall:", "Check:")
NOT_STATED_SHARE = 0.28
_ANSWER = (TEMPLATE, COPY, LOOKUP)
_QUESTION = (PROSE, TEMPLATE, UNKNOWABLE)


def add_statement(rng: random.Random, text: WeightedText, fact: Fact) -> None:
    """Restate a fact with the entity before the value."""
    shape = rng.random()
    if shape < 0.5:
        template = "{e} " + rng.choice(fact.attribute.phrases)
    elif shape < 0.75:
        template = "the " + fact.attribute.noun + " of {e} is {v}"
    else:
        template = "{e}, " + fact.attribute.noun + ": {v}"
    first_piece = len(text.pieces)
    text.add_filled(template + ".", fact.entity.name, fact.value, (TEMPLATE, TEMPLATE, LOOKUP))
    text.capitalize_from(first_piece)


def add_answered_question(rng: random.Random, text: WeightedText, fact: Fact) -> None:
    """Ask for a fact and answer in a full sentence."""
    text.add_filled(draw_question(rng, fact.attribute), fact.entity.name, "", _QUESTION)
    shape = rng.random()
    if fact.value[0].islower() and shape < 0.6:
        shape = 1.0  # a sentence cannot begin with a lower-case word
    if shape < 0.6:
        sentences = (*fact.attribute.inversions, "{v} is the " + fact.attribute.noun + " of {e}")
        text.add_filled(f" {rng.choice(sentences)}.", fact.entity.name, fact.value, _ANSWER)
    elif shape < 0.85:
        text.add(" The text", TEMPLATE)
        text.add(" says", LOOKUP)
        text.add_filled(" that {e} " + rng.choice(fact.attribute.phrases) + ".", fact.entity.name, fact.value, _ANSWER)
    else:
        text.add_filled(" It is {v}.", "", fact.value, _ANSWER)


def add_open_question(rng: random.Random, text: WeightedText, entity: Entity, attribute: Attribute) -> None:
    """Ask for what the document does not state, and say so."""
    if rng.random() < 0.15:
        first_piece = len(text.pieces)
        text.add_filled("{e}, " + attribute.noun + ":", entity.name, "", (TEMPLATE, TEMPLATE, UNKNOWABLE))
        text.capitalize_from(first_piece)
        text.add(" not stated.", LOOKUP)
        return
    text.add_filled(draw_question(rng, attribute), entity.name, "", _QUESTION)
    text.add(" The text", LOOKUP)
    text.add(" does not", LOOKUP)
    if rng.random() < 0.6:
        text.add(" say.", TEMPLATE)
    else:
        text.add_filled(" name the " + attribute.noun + " of {e}.", entity.name, "", _ANSWER)


def choose_open(rng: random.Random, scene: Scene) -> tuple[Entity, Attribute] | None:
    """Choose a question that the scene leaves open, or None if it leaves none."""
    pools = [pool for pool in (scene.open_hard, scene.open_easy) if pool]
    if not pools:
        return None
    return rng.choice(pools[0] if rng.random() < 0.5 else pools[-1])


def write_reading_exercise(rng: random.Random, split: Split = "pretrain") -> WeightedText:
    """Write a document and six to nine restatements of it."""
    scene = draw_scene(rng, split)
    document, _ = write_document(rng, scene)
    text = WeightedText()
    text.add(rng.choice(HEADINGS) + " ", PROSE)
    text.pieces += document.pieces
    text.add("\n" + rng.choice(REVIEWS), PROSE)
    queue: list[Fact] = []
    for _ in range(rng.randint(6, 9)):
        text.add(" ", PROSE)
        open_question = choose_open(rng, scene) if rng.random() < NOT_STATED_SHARE else None
        if open_question:
            add_open_question(rng, text, *open_question)
            continue
        if not queue:
            queue = rng.sample(scene.facts, len(scene.facts))
        (add_answered_question if rng.random() < 0.65 else add_statement)(rng, text, queue.pop())
    return text


def write_copy_exercise(rng: random.Random, split: Split = "pretrain") -> WeightedText:
    """Write a row of unrelated values, then repeat stretches of it word for word."""
    kinds = ("person", "town", "company", "mountain", "year", "number", *WORDS)
    values = [draw_value(rng, rng.choice(kinds), split) for _ in range(rng.randint(5, 14))]
    text = WeightedText([("Notes:", PROSE)])
    for value in values:
        text.add(f" {value}", UNKNOWABLE)
    for _ in range(rng.randint(2, 3)):
        text.add("\nReview:", PROSE)
        start = rng.choice((0, rng.randrange(len(values) - 2)))
        text.add(f" {values[start]}", UNKNOWABLE)
        for value in values[start + 1 :]:
            text.add(f" {value}", LOOKUP)
    return text


def write_list_exercise(rng: random.Random, split: Split = "pretrain") -> WeightedText:
    """Write a list of keys and values, and repeat it in another order."""
    count = rng.randint(2, 6)
    kind = rng.choice(KINDS)
    value_kinds = [attribute.value for attribute in kind.attributes]
    shape = rng.random()
    if shape < 0.6:
        keys = [draw_value(rng, rng.choice(("person", "town", "company")), split) for _ in range(count)]
    else:
        owners = [draw_value(rng, rng.choice(("person", "town", "company")), split) for _ in range(2)]
        nouns = rng.sample([attribute.noun for attribute in kind.attributes], min(3, count // 2))
        keys = [f"{owner}, {noun}" for owner in owners for noun in nouns]
    pairs = [(key, draw_value(rng, rng.choice(value_kinds), split)) for key in keys]
    text = WeightedText()
    text.add("Notes:", PROSE)
    for key, value in pairs:
        text.add(f" {key}: {value}.", UNKNOWABLE)
    for _ in range(2):
        text.add("\nReview:", PROSE)
        rng.shuffle(pairs)
        for key, value in pairs:
            text.add(f" {key}", TEMPLATE)
            text.add(":", PROSE)
            text.add(f" {value}", LOOKUP)
            text.add(".", PROSE)
    return text
