"""Documents about invented entities, and restatements of what they say, with a loss weight for every character.

A document cannot be predicted where it first names someone or something, so those characters weigh nothing
in pretraining; where a restatement repeats them, they can be looked up, and weigh most.
"""

import random
from dataclasses import dataclass, field

from components.starter.kinds import KINDS
from components.starter.names import MEN, WOMEN, Split, draw_name
from components.starter.schema import WORDS, Attribute, Kind

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


def draw_template(rng: random.Random, attribute: Attribute) -> str:
    """Choose one of the ways to state `attribute`."""
    choice = rng.random()
    if choice < 0.2 and attribute.inversions:
        return rng.choice(attribute.inversions)
    if choice < 0.35:
        return "the " + attribute.noun + " of {e} is {v}"
    return "{e} " + rng.choice(attribute.phrases)


class DocumentWriter:
    """Writes facts as prose and keeps where in the text each value starts."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.document = WeightedText()
        self.starts: dict[Fact, int] = {}
        self.subject: Entity | None = None
        """What a pronoun at the beginning of the next sentence would refer to."""

    def add_fact(self, template: str, name: str, fact: Fact) -> None:
        """Append one statement."""
        begin = len(self.document.text)
        self.document.add_filled(template, name, fact.value, (PROSE, UNKNOWABLE, UNKNOWABLE))
        self.starts[fact] = begin + self.document.text[begin:].rindex(fact.value)

    def add_linked(self, fact: Fact, following: Fact) -> bool:
        """Append `following` to the sentence that states `fact`, if the two go together."""
        same = following.entity == fact.entity
        if not same and following.attribute != fact.attribute:
            return False
        phrase = self.rng.choice(following.attribute.phrases)
        self.add_fact(" and " + phrase if same else ", while {e} " + phrase, following.entity.name, following)
        self.subject = fact.entity if same else None
        return True

    def add_sentence(self, facts: list[Fact]) -> None:
        """Append a sentence that states the first one or two of `facts`, and remove them from the list."""
        fact = facts.pop(0)
        entity = fact.entity
        first_piece = len(self.document.pieces)
        if self.rng.random() < 0.1:
            self.document.add(self.rng.choice(OPENERS) + " ", PROSE)
        template = draw_template(self.rng, fact.attribute)
        name = entity.name
        at_start = template.startswith("{e}") and len(self.document.pieces) == first_piece
        if at_start and self.subject == entity and self.rng.random() < 0.5:
            name = entity.pronoun if self.rng.random() < 0.7 else f"this {entity.kind.noun}"
        self.add_fact(template, name, fact)
        self.document.capitalize_from(first_piece)
        self.subject = entity
        may_link = facts and template.startswith("{e}") and self.rng.random() < 0.35
        if may_link and self.add_linked(fact, facts[0]):
            facts.pop(0)
            self.document.add(".", PROSE)
            return
        self.document.add(".", PROSE)
        if self.rng.random() < 0.06:
            self.document.add(" " + self.rng.choice(FILLERS), PROSE)
            self.subject = None


def write_document(rng: random.Random, scene: Scene) -> tuple[WeightedText, dict[Fact, int]]:
    """State the facts of a scene in prose; also return where in the text each value starts."""
    facts = list(scene.facts)
    if rng.random() < 0.25:
        rng.shuffle(facts)
    writer = DocumentWriter(rng)
    while facts:
        if writer.document.pieces:
            writer.document.add(" ", PROSE)
        writer.add_sentence(facts)
    return writer.document, writer.starts


def draw_question(rng: random.Random, attribute: Attribute) -> str:
    """Choose one of the ways to ask for `attribute`, with `{e}` for the entity."""
    return rng.choice(attribute.questions) + "?"
