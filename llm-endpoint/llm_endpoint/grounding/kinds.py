"""What each word of an answer claims: a name, a number, something ordinary, or nothing."""

from enum import Enum
from itertools import accumulate

from llm_endpoint.grounding.forms import common_form
from llm_endpoint.grounding.glue import CLITICS, MAGNITUDES, NUMBERS, UNSPACED_GLUE, YES_NO
from llm_endpoint.grounding.nearness import clues_of
from llm_endpoint.grounding.words import CURRENCIES, Words, is_number, is_unspaced

_ALSO_NAMES = frozenset(("may", "will"))
_SENTENCE_ENDS = frozenset(".!?:\n")


class Kind(Enum):
    """Claim of one word, from nothing to what must be in the context."""

    GLUE = "glue"
    """Claims nothing: "the answer is"."""
    WORD = "word"
    """Ordinary word, in an answer that marks its names by capitals."""
    NAME = "name"
    """A name, or what could be one where case does not tell."""
    NUMBER = "number"
    SIGN = "sign"
    """$ or %: part of the number beside it."""


def trusts_case(text: str) -> bool:
    """Do capitals tell names from ordinary words? Not in text that is all lower, all upper, or without case."""
    return text != text.lower() and text != text.upper()


def kinds_of(answer: Words, glue: frozenset[str]) -> list[Kind]:
    """Kind of each word of an answer, with the function words of its language."""
    trusted, particles = trusts_case(answer.text), _particles(answer.keys)
    kinds = []
    for index, key in enumerate(answer.keys):
        if key in CURRENCIES:
            kinds.append(Kind.SIGN)
        elif index in particles or _is_glue(answer, index, glue, trusted or len(answer) == 1):
            kinds.append(Kind.GLUE)
        elif is_number(key) or key in NUMBERS or key in MAGNITUDES:
            kinds.append(Kind.NUMBER)
        else:
            kinds.append(Kind.WORD if trusted and answer.word(index)[0].islower() else Kind.NAME)
    return kinds


def _is_glue(answer: Words, index: int, glue: frozenset[str], capitals_tell: bool) -> bool:
    """A function word, unless it is written as a name: WHO, U.S., May, hepatitis A, World War I."""
    key, word = answer.keys[index], answer.word(index)
    if key in CLITICS and index and answer.gap(index - 1) in ("'", "’"):
        return True
    begins = index == 0 or not _SENTENCE_ENDS.isdisjoint(answer.gap(index - 1))
    if key == "a":  # the articles among them are gone already, but for "the answer is A bridge"
        return answer.keys[index - 1] in glue if index and index + 1 < len(answer) else False
    if key not in glue and key not in YES_NO:
        return False
    initial = word[0].isupper()
    is_name = initial and ((len(key) == 1 and not begins) or (len(key) > 1 and (word.isupper() or key in _ALSO_NAMES)))
    return not (is_name and capitals_tell)


def _particles(keys: list[str]) -> set[int]:
    """Words that are part of a particle of a script without spaces."""
    if not any(map(is_unspaced, keys)):
        return set()
    text = "".join(key if is_unspaced(key) else "\0" * len(key) for key in keys)
    ends = list(accumulate(map(len, keys)))
    starts = {end - len(key): index for index, (end, key) in enumerate(zip(ends, keys, strict=True))}
    stops = {end: index for index, end in enumerate(ends)}
    found: set[int] = set()
    for particle in UNSPACED_GLUE:
        at = text.find(particle)
        while at >= 0:
            end = at + len(particle)
            if at in starts and end in stops:
                found.update(range(starts[at], stops[end] + 1))
            at = text.find(particle, end)
    return found


def echoes(answer: Words, question: Words) -> list[bool]:
    """For each word of an answer: does the question have it too?"""
    asked = set(question.keys) | set(clues_of(question))
    flags = []
    for index, key in enumerate(answer.keys):
        if is_unspaced(key):
            pairs = ("".join(answer.keys[max(0, start) : start + 2]) for start in (index - 1, index))
            flags.append(any(pair != key and pair in asked for pair in pairs))
        else:
            flags.append(key in asked or common_form(key) in asked)
    return flags
