"""The evidence of an answer: which words of the context support it. docs/grounding.md says what that means."""

import re
from dataclasses import dataclass

from llm_endpoint.grounding.evidence import find_evidence
from llm_endpoint.grounding.glue import GLUE, YES_NO
from llm_endpoint.grounding.kinds import trusts_case
from llm_endpoint.grounding.nearness import Nearness, clues_of
from llm_endpoint.grounding.occurrences import exact_places, joined_place
from llm_endpoint.grounding.sentences import closest_sentence
from llm_endpoint.grounding.spans import Place, Span, spans_of
from llm_endpoint.grounding.words import Words, read_words

__all__ = ["Grounding", "Span", "ground"]

MAX_COPIED = 0.5
"""Share of the context that may be evidence: an answer that copies more of it points at nothing."""
MIN_COPY = 25
"""Words from which on an answer may count as a copy."""
_LIST_MARKER = re.compile(r"^[ \t]*(?:[-*•]|\d{1,2}[.)])[ \t]+", re.MULTILINE)


@dataclass(frozen=True)
class Grounding:
    """Whether the context supports an answer, and where: sorted spans that do not overlap, none if it does not."""

    supported: bool
    spans: tuple[Span, ...]


def ground(answer: str, context: str, question: str = "", no_answer_text: str | None = None) -> Grounding:
    """Find the words of the context that support an answer.

    Args:
        answer: What the model said; any text.
        context: What it was to answer from; any text.
        question: Chooses among several occurrences, and is what "yes" and "no" are held against.
        no_answer_text: The answer that means "not in the context", compared without case and punctuation.
    """
    said = read_words(answer)
    if not len(said) or (no_answer_text is not None and said.keys == read_words(no_answer_text).keys):
        return Grounding(supported=False, spans=())
    source, asked = read_words(context), read_words(question)
    if YES_NO.issuperset(said.keys) or "".join(said.keys) in YES_NO:
        places = _sentence(source, asked)
    else:
        places = _whole(said, source, asked)
        if not places:
            if len(_LIST_MARKER.findall(answer)) > 1:
                said = read_words(_LIST_MARKER.sub("", answer))
            places = find_evidence(said, source, asked)
        copied = sum(place.end - place.start for place in places)
        if copied >= MIN_COPY and copied > MAX_COPIED * len(source):
            places = _sentence(source, asked)
    return Grounding(supported=bool(places), spans=spans_of(places, source, said))


def _whole(said: Words, source: Words, asked: Words) -> list[Place]:
    """The best place that says what the answer says, word for word; [] if there is none."""
    starts = exact_places(said, source)
    is_name = len(said) == 1 and said.keys[0] in GLUE and said.word(0).isupper() and trusts_case(source.text)
    if is_name:
        starts = [start for start in starts if not source.word(start).islower()]  # WHO is not "who"
    if starts:
        start = Nearness(source, clues_of(asked)).best(starts, len(said))
        return [Place(start, start + len(said), 0, len(said))]
    place = None if is_name else joined_place(said, source)
    return [place] if place else []


def _sentence(source: Words, asked: Words) -> list[Place]:
    place = closest_sentence(source, asked)
    return [place] if place else []
