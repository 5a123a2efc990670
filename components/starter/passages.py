"""Short passages about invented entities, in pieces of which the names say what they name."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from components.starter.documents import Entity, Fact, draw_entity, draw_template, draw_value
from components.starter.names import Split, draw_name
from components.starter.schema import Kind

NAME_TYPES = {
    "person": "PER",
    "town": "LOC",
    "river": "LOC",
    "mountain": "LOC",
    "company": "ORG",
    "school": "ORG",
    "museum": "ORG",
    "ship": "WORK",
    "bridge": "WORK",
    "novel": "WORK",
}
"""Type of a name, by the kind of entity or of value that it names; other values are no names."""
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Piece:
    """Part of a passage."""

    text: str
    name_type: str = ""
    """Empty for what is no name."""


def draw_facts(rng: random.Random, kind: Kind, name: str, count: int, split: Split) -> list[Fact]:
    """Invent `count` different facts about one entity that is called `name`, or gets a name of its kind for ""."""
    entity = Entity(kind, name, "It") if name else draw_entity(rng, kind, split)
    chosen = rng.sample(kind.attributes, count)
    return [Fact(entity, attribute, draw_value(rng, attribute.value, split)) for attribute in chosen]


def draw_plain_name(rng: random.Random, kind: Kind, split: Split) -> list[Piece]:
    """Name an entity so that the words before the name say what it is: "the bridge" + "Talmora"."""
    entity = draw_entity(rng, kind, split)
    if kind.noun == "person":
        return [Piece(entity.name, "PER")]
    name = Piece(draw_name(rng, split), NAME_TYPES[kind.noun])
    # A bare name at the beginning of a sentence is always a town, so that it can be told from nothing else.
    if kind.noun == "town" and rng.random() < 0.5:
        return [name]
    return [Piece(f"the {kind.noun} "), name]


def state(rng: random.Random, fact: Fact, name: Sequence[Piece]) -> list[Piece]:
    """One sentence that states a fact."""
    value = Piece(fact.value, NAME_TYPES.get(fact.attribute.value, ""))
    pieces: list[Piece] = []
    for part in re.split(r"(\{[ev]\})", draw_template(rng, fact.attribute)):
        pieces += name if part == "{e}" else [value] if part == "{v}" else [Piece(part)] if part else []
    first = pieces[0]
    return [Piece(first.text[:1].upper() + first.text[1:], first.name_type), *pieces[1:], Piece(".")]


def text_of(sentences: Sequence[Sequence[Piece]]) -> str:
    """The passage as text."""
    return " ".join("".join(piece.text for piece in sentence) for sentence in sentences)


def tagged(sentences: Sequence[Sequence[Piece]]) -> tuple[list[str], list[str]]:
    """The passage as words, punctuation apart, and their IOB2 tags."""
    tokens: list[str] = []
    tags: list[str] = []
    for piece in (piece for sentence in sentences for piece in sentence):
        words = _WORD.findall(piece.text)
        tokens += words
        inside = [f"I-{piece.name_type}"] * len(words)
        tags += [f"B-{piece.name_type}", *inside[1:]] if piece.name_type and words else ["O"] * len(words)
    return tokens, tags
