"""The sentence of a context that is closest to a question."""

import re
from bisect import bisect_left
from collections import Counter
from functools import cache
from itertools import pairwise
from math import log

from llm_endpoint.grounding.nearness import clue_forms, clues_of
from llm_endpoint.grounding.spans import Place
from llm_endpoint.grounding.words import Words

MIN_SHARE = 0.5
"""Least share of the question's words, the rare ones counting more, that a sentence must have to be close to it."""


@cache
def _ends() -> re.Pattern[str]:
    # "Dr.", "J." and "U.S." end no sentence
    return re.compile(r"(?<!\b\w)(?<!\b[A-Z]\w)[.!?…][\"'”’)\]]*+\s|[。！？।॥؟۔]|\n")


def sentence_starts(context: Words) -> list[int]:
    """Index of the first word of each sentence, then the number of words."""
    cuts = {bisect_left(context.starts, match.end()) for match in _ends().finditer(context.text)}
    starts = sorted(cuts - {0, len(context)})
    return [0, *starts, len(context)]


def closest_sentence(context: Words, question: Words) -> Place | None:
    """The sentence with most of the question; None if none has MIN_SHARE of it."""
    clues, forms = set(clues_of(question)), clue_forms(context.keys)
    counts = Counter(form for form in forms if form in clues)
    weights = {clue: log(1 + len(forms) / max(1, counts[clue])) for clue in clues}
    best = 0.0
    found = None
    for first, last in pairwise(sentence_starts(context)):
        share = sum(weights[clue] for clue in sorted(clues.intersection(forms[first:last])))
        if share > best:
            best, found = share, Place(first, last)
    return found if best >= MIN_SHARE * sum(weights.values()) else None
