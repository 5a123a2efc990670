"""Where the words of an answer stand in the context, one after the other."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

from llm_endpoint.grounding.spans import Place
from llm_endpoint.grounding.words import Words, is_unspaced

MAX_DISTINCT = 50_000
"""Distinct words of an answer that are told apart; later ones count as not found."""
MAX_TRIES = 1000
_THOUSANDS = re.compile(r"\d{3}")


def letters_of(keys: Iterable[str]) -> dict[str, str]:
    """One letter of a private alphabet for each distinct word, so that word sequences become strings to search in."""
    distinct = list(dict.fromkeys(keys))[:MAX_DISTINCT]
    return {key: chr(number) for number, key in enumerate(distinct, start=1)}


def spell(keys: Sequence[str], letter_of: Callable[[str, str], str]) -> str:
    """A text in that alphabet: NUL for what it has no letter for. Index i is word i."""
    return "".join([letter_of(key, "\0") for key in keys])


def find_all(needle: str, text: str) -> list[int]:
    """Starts of all occurrences, overlapping ones left out."""
    starts, at = [], text.find(needle)
    while at >= 0:
        starts.append(at)
        at = text.find(needle, at + len(needle))
    return starts


def exact_places(answer: Words, context: Words) -> list[int]:
    """Starts, as word indices, of the answer's words in the context."""
    letters = letters_of(answer.keys)
    needle = spell(answer.keys, letters.get)
    return [] if "\0" in needle else find_all(needle, spell(context.keys, letters.get))


def joined_place(answer: Words, context: Words) -> Place | None:
    """First place where both say the same once spaces and hyphens are gone: "e-mail" and "email", "10year".

    Digits are never joined with digits, unless by a thousands space.
    """
    if is_unspaced(answer.keys[0]):
        return None
    wanted = "".join(_parts(answer)).lstrip("\0")
    parts = _parts(context)
    text = "".join(parts)
    ends = list(accumulate(map(len, parts)))
    at = text.find(wanted)
    for _ in range(MAX_TRIES):
        if at < 0:
            return None
        first = bisect_right(ends, at)
        start = ends[first] - len(context.keys[first])
        last = bisect_left(ends, at + len(wanted))
        if at == start and ends[last] == at + len(wanted):
            return Place(first, last + 1, 0, len(answer))
        at = text.find(wanted, max(start + 1, at + 1))
    return None


def _parts(words: Words) -> list[str]:
    """Keys, with NUL in front of digits that must not be read as one number with the digits before them."""
    parts = list(words.keys)
    for index in range(1, len(parts)):
        before, key = words.keys[index - 1], words.keys[index]
        if before[-1].isdigit() and key[0].isdigit():
            grouped = len(before) <= 3 and _THOUSANDS.fullmatch(key) and words.gap(index - 1) == " "
            parts[index] = key if grouped else "\0" + key
    return parts
