"""How the starter's documents describe what they talk about: kinds of entity and their attributes.

In the templates `{e}` is the entity and `{v}` the value. A phrase continues a sentence that begins with
the entity ("Balmora" + "is led by {v}"); an inversion and a question are whole sentences without a full stop.
"""

from dataclasses import dataclass, field

from components.starter.names import words

WORDS: dict[str, tuple[str, ...]] = {
    "job": words("doctor painter baker teacher lawyer farmer sailor singer writer judge nurse pilot"),
    "goods": words("glass paper boats clocks shoes carpets bricks candles bicycles pianos soap cheese lamps"),
    "animal": words("fox horse lion bear wolf falcon swan deer goat raven"),
    "instrument": words("violin flute harp drum guitar piano trumpet cello"),
    "fish": words("trout salmon pike carp eels perch"),
    "material": words("steel stone iron wood concrete brick"),
    "subject": words("music law medicine history chemistry sculpture botany dance"),
    "day": words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday"),
    "colour": words("red blue green white black yellow brown grey"),
}


@dataclass(frozen=True)
class Attribute:
    """One thing that can be said, or asked, about an entity."""

    noun: str
    """As in "the {noun} of {e}"."""
    value: str
    """The kind of value: person, town, company, river, mountain, year, number, or a key of WORDS."""
    phrases: tuple[str, ...]
    questions: tuple[str, ...]
    inversions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kind:
    """One kind of entity."""

    noun: str
    patterns: tuple[str, ...]
    """How its name is made from an invented name `{n}`; `{first}` is a given name."""
    attributes: tuple[Attribute, ...] = field(default=())


def deed_attribute(noun: str, verb_past: str, *phrases: str) -> Attribute:
    """A person who did something to the entity: "{v} founded {e}"."""
    return Attribute(
        noun,
        "person",
        (f"was {verb_past} by {{v}}", *phrases),
        (f"Who {verb_past} {{e}}", f"By whom was {{e}} {verb_past}", f"Who is the {noun} of {{e}}"),
        (f"{{v}} {verb_past} {{e}}",),
    )


def year_attribute(noun: str, verb_past: str, *phrases: str) -> Attribute:
    """The year in which something was done to the entity."""
    return Attribute(
        noun,
        "year",
        (f"was {verb_past} in {{v}}", *phrases),
        (f"When was {{e}} {verb_past}", f"In which year was {{e}} {verb_past}", f"What is the {noun} of {{e}}"),
    )


def home_attribute(noun: str, verb: str, phrase: str, question: str) -> Attribute:
    """The town in which the entity is."""
    return Attribute(noun, "town", (f"{verb} in {{v}}", phrase), (question, f"What is the {noun} of {{e}}"))
