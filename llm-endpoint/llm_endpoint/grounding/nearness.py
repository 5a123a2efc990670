"""Which of several places fits best: the one with the question's words around it, the rare ones above all."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import cached_property
from math import log

from llm_endpoint.grounding.forms import common_form
from llm_endpoint.grounding.glue import GLUE
from llm_endpoint.grounding.words import Words, is_unspaced

REACH = 12
"""Words at which a question word counts half of what it counts beside the place."""
MAX_PLACES = 64
"""Places that are looked at closely; bounds the work on contexts that repeat themselves."""
MAX_CLUES = 32


def clue_forms(keys: Sequence[str]) -> list[str]:
    """What each word can be recognised by: its stem; with the next character in scripts without spaces."""
    stems = {key: "" if is_unspaced(key) else common_form(key) for key in set(keys)}
    forms = [stems[key] for key in keys]
    for index in [index for index, form in enumerate(forms) if not form]:
        following = keys[index + 1] if index + 1 < len(keys) and not stems[keys[index + 1]] else ""
        forms[index] = keys[index] + following
    return forms


def clues_of(words: Words) -> list[str]:
    """The distinct forms of a text's content words."""
    pairs = zip(words.keys, clue_forms(words.keys), strict=True)
    return list(dict.fromkeys(form for key, form in pairs if key not in GLUE and (form != key or not is_unspaced(key))))


class Nearness:
    """Scores places of a context by the clues around them; looks at the context on first use."""

    def __init__(self, context: Words, clues: Iterable[str]) -> None:
        self._context, self._clues = context, set(clues)

    @cached_property
    def _places(self) -> list[tuple[float, list[int]]]:
        """Weight and sorted word indices of each clue that the context has, the weightiest first."""
        found: dict[str, list[int]] = {}
        keys, clues = self._context.keys, self._clues
        for index, form in enumerate(clue_forms(keys)):
            if form in clues:
                found.setdefault(form, []).append(index)
        weighted = [(log(1 + len(keys) / len(places)), places) for places in found.values()]
        return sorted(weighted, key=lambda item: (-item[0], item[1][0]))[:MAX_CLUES]

    def score(self, start: int, end: int) -> float:
        """How much of the clues lies around the words start to end (exclusive); 0 if nothing."""
        total = 0.0
        for weight, places in self._places:
            at = bisect_left(places, start)
            before = start - places[at - 1] if at else None
            after = max(0, places[at] - end + 1) if at < len(places) else None
            distance = min(gap for gap in (before, after) if gap is not None)
            total += weight / (1 + distance / REACH)
        return total

    def best(self, starts: Sequence[int], length: int) -> int:
        """The best of the places, each `length` words long; the first among equals."""
        if len(starts) == 1 or not self._clues:
            return starts[0]
        return max(self.thinned(starts), key=lambda start: (self.score(start, start + length), -start))

    def thinned(self, starts: Sequence[int]) -> Sequence[int]:
        """At most MAX_PLACES: those in the stretches of text with the most clues."""
        if len(starts) <= MAX_PLACES:
            return starts
        ranked = sorted(starts, key=lambda start: (-self._stretches.get(start // (2 * REACH), 0.0), start))
        return sorted(ranked[:MAX_PLACES])

    @cached_property
    def _stretches(self) -> dict[int, float]:
        """Weight of the clues in each stretch of text that has any."""
        weights: dict[int, float] = {}
        for weight, places in self._places:
            for number in {place // (2 * REACH) for place in places}:
                weights[number] = weights.get(number, 0.0) + weight
        return weights
