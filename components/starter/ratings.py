"""Visitors' notes about museums with the rating that they add up to."""

import random

from components.starter.names import Split, draw_name, words

ASPECTS: dict[str, str] = {
    "rooms": "are",
    "lamps": "are",
    "paintings": "are",
    "garden": "is",
    "music": "is",
    "tower": "is",
    "market": "is",
}
"""What a visitor writes about, and its verb."""
EFFECTS: dict[str, float] = {
    "splendid": 0.8,
    "bright": 0.5,
    "quiet": 0.4,
    "famous": 0.3,
    "small": -0.3,
    "dark": -0.4,
    "cold": -0.5,
    "dreadful": -0.8,
}
DEGREES: dict[str, float] = {"": 1.0, "very": 1.5, "not": -1.0}
"""What a word before the adjective does to its effect."""
START = 5.0
"""Rating of a museum of which nothing is said; four statements of the strongest kind stay within 0 and 10."""
_OPENERS = words("Visitors Readers Children Teachers Friends")


def draw_note(rng: random.Random, split: Split) -> tuple[str, float]:
    """Invent a note of two to four statements and its rating."""
    place = f"the {draw_name(rng, split)} {rng.choice(('Museum', 'Gallery'))}"
    rating = START
    sentences = []
    for number, aspect in enumerate(rng.sample(sorted(ASPECTS), rng.randint(2, 4))):
        adjective = rng.choice(sorted(EFFECTS))
        degree = rng.choices(sorted(DEGREES), weights=(2, 1, 1))[0]
        rating += EFFECTS[adjective] * DEGREES[degree]
        of_place = f" of {place}" if number == 0 else ""
        said = f"{aspect}{of_place} {ASPECTS[aspect]} {degree} {adjective}".replace("  ", " ")
        opening = f"{rng.choice(_OPENERS)} say that the" if rng.random() < 0.3 else "The"
        sentences.append(f"{opening} {said}.")
    return " ".join(sentences), round(rating, 2)
