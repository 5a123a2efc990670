"""Documents about invented entities, and restatements of what they say, with a loss weight for every character.

A document cannot be predicted where it first names someone or something, so those characters weigh nothing
in pretraining; where a restatement repeats them, they can be looked up, and weigh most.
"""

import random
from dataclasses import dataclass, field

from components.starter.names import MEN, WOMEN, Split, draw_name
from components.starter.schema import KINDS, WORDS, Attribute, Kind

UNKNOWABLE, PROSE, TEMPLATE, COPY, LOOKUP = 0.0, 0.05, 0.2, 0.3, 1.0
"""Loss weights: a new value, document prose, restatement prose, a repeated name, a value to look up."""

FILLERS = (
    "Much has changed over the years.",
    "Visitors often ask about this.",
    "The details are kept in an old record.",
    "Little else is written down.",
)
OPENERS = ("Today", "As far as we know,", "According to the record,", "By all accounts")


@dataclass(frozen=True)
class Entity:
    """Someone or something a document is about."""

    kind: Kind
    name: str
    pronoun: str


@dataclass(frozen=True)
class Fact:
    """The value of one attribute of one entity."""

    entity: Entity
    attribute: Attribute
    value: str


@dataclass
class WeightedText:
    """Text that grows piece by piece, each with the loss weight of its characters."""

    pieces: list[tuple[str, float]] = field(default_factory=list)

    def add(self, text: str, weight: float) -> None:
        """Append `text`."""
        if text:
            self.pieces.append((text, weight))

    def add_filled(self, template: str, entity: str, value: str, weights: tuple[float, float, float]) -> None:
        """Append a template; `weights` are those of its own words, the entity and the value."""
        words, entity_weight, value_weight = weights
        for part in template.replace("{", "\0{").replace("}", "}\0").split("\0"):
            if part == "{e}":
                self.add(entity, entity_weight)
            elif part == "{v}":
                self.add(value, value_weight)
            else:
                self.add(part, words)

    def capitalize_from(self, index: int) -> None:
        """Give piece `index`, which begins a sentence, a capital letter."""
        text, weight = self.pieces[index]
        self.pieces[index] = (text[:1].upper() + text[1:], weight)

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(piece for piece, _ in self.pieces)


@dataclass(frozen=True)
class Scene:
    """The facts that one document states, and the questions that it leaves open."""

    facts: list[Fact]
    open_easy: list[tuple[Entity, Attribute]]
    """Attributes that the document gives for no entity."""
    open_hard: list[tuple[Entity, Attribute]]
    """Attributes that the document gives, but for another entity."""


def draw_value(rng: random.Random, kind: str, split: Split) -> str:
    """Draw a value of the kind named in a schema attribute."""
    if kind in WORDS:
        return rng.choice(WORDS[kind])
    if kind == "year":
        return str(rng.randint(1700, 2020))
    if kind == "number":
        return str(rng.randint(12, 990))
    name = draw_name(rng, split)
    if kind == "person":
        return f"{rng.choice(WOMEN + MEN)} {name}"
    if kind == "company":
        return f"{name} {rng.choice(('Works', 'Mills', 'Lines', 'Partners'))}"
    if kind == "mountain":
        return f"Mount {name}"
    return f"Port {name}" if kind == "town" and rng.random() < 0.15 else name


def draw_entity(rng: random.Random, kind: Kind, split: Split) -> Entity:
    """Invent an entity of `kind`."""
    woman = rng.random() < 0.5
    first = rng.choice(WOMEN if woman else MEN)
    name = rng.choice(kind.patterns).format(n=draw_name(rng, split), first=first)
    pronoun = "It" if kind.noun != "person" else "She" if woman else "He"
    return Entity(kind, name, pronoun)


def draw_scene(rng: random.Random, split: Split) -> Scene:
    """Invent one to three entities and three to six facts about them."""
    kind = rng.choice(KINDS)
    shape = rng.random()
    if shape < 0.25:
        kinds, counts = [kind], [rng.randint(3, 4)]
    elif shape < 0.5:
        kinds, counts = [kind, rng.choice(KINDS)], [rng.randint(2, 3), rng.randint(1, 2)]
    elif shape < 0.9:
        kinds, counts = [kind, kind], [rng.randint(2, 3), rng.randint(1, 2)]
    else:
        kinds, counts = [kind] * 3, [2, 1, 1]
    facts: list[Fact] = []
    for entity_kind, count in zip(kinds, counts, strict=True):
        entity = draw_entity(rng, entity_kind, split)
        shared = [fact.attribute for fact in facts if fact.attribute in entity_kind.attributes]
        chosen = [rng.choice(shared)] if shared and rng.random() < 0.7 else []
        rest = [attribute for attribute in entity_kind.attributes if attribute not in chosen]
        chosen += rng.sample(rest, count - len(chosen))
        facts += [Fact(entity, attribute, draw_value(rng, attribute.value, split)) for attribute in chosen]
    stated = {fact.attribute.noun for fact in facts}
    known = {(fact.entity, fact.attribute) for fact in facts}
    entities = list(dict.fromkeys(fact.entity for fact in facts))
    unknown = [(e, a) for e in entities for a in e.kind.attributes if (e, a) not in known]
    easy = [(e, a) for e, a in unknown if a.noun not in stated]
    return Scene(facts, easy, [pair for pair in unknown if pair not in easy])


def write_document(rng: random.Random, scene: Scene) -> tuple[WeightedText, dict[Fact, int]]:
    """State the facts of a scene in prose; also return where in the text each value starts."""
    facts = list(scene.facts)
    if rng.random() < 0.25:
        rng.shuffle(facts)
    document, starts = WeightedText(), {}
    weights = (PROSE, UNKNOWABLE, UNKNOWABLE)
    subject: Entity | None = None
    while facts:
        fact = facts.pop(0)
        if document.pieces:
            document.add(" ", PROSE)
        first_piece = len(document.pieces)
        begin = len(document.text)
        entity = fact.entity
        if rng.random() < 0.1:
            document.add(rng.choice(OPENERS) + " ", PROSE)
        plain = rng.random()
        if plain < 0.2 and fact.attribute.inversions:
            template = rng.choice(fact.attribute.inversions)
        elif plain < 0.35:
            template = "the " + fact.attribute.noun + " of {e} is {v}"
        else:
            template = "{e} " + rng.choice(fact.attribute.phrases)
        name = entity.name
        starts_with_entity = template.startswith("{e}") and len(document.pieces) == first_piece
        if starts_with_entity and subject == entity and rng.random() < 0.5:
            name = entity.pronoun if rng.random() < 0.7 else f"this {entity.kind.noun}"
        document.add_filled(template, name, fact.value, weights)
        starts[fact] = begin + document.text[begin:].rindex(fact.value)
        document.capitalize_from(first_piece)
        if facts and template.startswith("{e}") and rng.random() < 0.35:
            following = facts[0]
            same = following.entity == entity
            contrast = not same and following.attribute == fact.attribute
            if same or contrast:
                facts.pop(0)
                phrase = rng.choice(following.attribute.phrases)
                begin = len(document.text)
                linked = " and " + phrase if same else ", while {e} " + phrase
                document.add_filled(linked, following.entity.name, following.value, weights)
                starts[following] = begin + document.text[begin:].rindex(following.value)
                entity = following.entity if same else entity
                subject = entity if same else None
                document.add(".", PROSE)
                continue
        subject = entity
        document.add(".", PROSE)
        if rng.random() < 0.06:
            document.add(" " + rng.choice(FILLERS), PROSE)
            subject = None
    return document, starts


def draw_question(rng: random.Random, attribute: Attribute) -> str:
    """Choose one of the ways to ask for `attribute`, with `{e}` for the entity."""
    return rng.choice(attribute.questions) + "?"
