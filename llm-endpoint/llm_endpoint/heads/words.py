"""Parts a text into words with their places, for models that tag words."""

import re
import unicodedata
from dataclasses import dataclass

_PART = re.compile(r"\w+(?:['’\-]\w+)*|\S")
_JOINERS = "\u200c\u200d"
"""Keep letters of one word apart or together in some scripts."""


@dataclass(frozen=True)
class Words:
    """Words of a text."""

    words: list[str]
    offsets: list[tuple[int, int]]
    """First character of each word, and one past its last."""


def split_words(text: str) -> Words:
    """Runs of letters, digits and their marks, with apostrophes and hyphens inside; any other character alone."""
    places: list[tuple[int, int]] = []
    goes_on = False
    for match in _PART.finditer(text):
        start, end = match.span()
        touches = bool(places) and places[-1][1] == start
        # the vowel signs of many scripts are marks, which are no word characters to `re`
        mark = end - start == 1 and (unicodedata.category(text[start])[0] == "M" or text[start] in _JOINERS)
        inside = touches and text[start - 1].isalnum() if mark and not goes_on else touches
        if inside and (mark or (goes_on and text[start].isalnum())):
            places[-1] = (places[-1][0], end)
        else:
            places.append((start, end))
            mark = False
        goes_on = mark
    return Words([text[start:end] for start, end in places], places)
