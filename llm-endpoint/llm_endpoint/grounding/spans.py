"""From words of the context to stretches of its text."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from llm_endpoint.grounding.words import Words, splits_grapheme

OUTER = " \t\r\n.,;:!?…*_`\"'“”‘’«»„।。、，؟،"
"""Punctuation around an answer that is not worth looking for."""
_SENTENCE_ENDS = frozenset(".!?\n。！？।؟")


@dataclass(frozen=True)
class Span:
    """A stretch of the context in Unicode code points, `end` not included; start < end."""

    start: int
    end: int


class Place(NamedTuple):
    """Words of the context, and the words of the answer that they support; `end` and `said_end` are not included."""

    start: int
    end: int
    said_start: int = 0
    said_end: int = 0
    """Equal to `said_start` where it is not word for word."""


def spans_of(places: Iterable[Place], context: Words, answer: Words) -> tuple[Span, ...]:
    """Sorted spans; those with at most one word between them in the same sentence become one."""
    merged: list[tuple[int, Span]] = []
    for place in sorted(places):
        span = _span(place, context, answer)
        if merged:
            word, before = merged[-1]
            gap = context.text[before.end : span.start]
            if place.start < word or (place.start <= word + 1 and not _SENTENCE_ENDS.intersection(gap)):
                end = max(before.end, span.end)
                merged[-1] = max(word, place.end), Span(min(before.start, span.start), end)
                continue
        merged.append((place.end, span))
    return tuple(span for _, span in merged)


def _span(place: Place, context: Words, answer: Words) -> Span:
    """The place with the article or bracket that stands beside it in the answer and in the context."""
    start, end = context.starts[place.start], context.ends[place.end - 1]
    if place.said_start == place.said_end:
        return Span(start, end)
    before = answer.ends[place.said_start - 1] if place.said_start else 0
    lead = answer.text[before : answer.starts[place.said_start]].lstrip(OUTER)
    if lead and context.text[max(0, start - len(lead)) : start].lower() == lead.lower():
        start -= 0 if context.text[max(0, start - len(lead) - 1) : start - len(lead)].isalnum() else len(lead)
    after = answer.starts[place.said_end] if place.said_end < len(answer) else len(answer.text)
    trail = answer.text[answer.ends[place.said_end - 1] : after].rstrip(OUTER)
    if trail and context.text.startswith(trail, end) and not splits_grapheme(context.text, end + len(trail)):
        end += len(trail)
    return Span(start, end)
