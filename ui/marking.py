"""The context as HTML, with the parts that support an answer marked."""

import html
from collections.abc import Iterable

from ui.contract import Span

WHOLE_UP_TO = 6000
"""Code points; a longer context is shown only around its marks, so that they can be found."""
AROUND = 500
"""Code points shown on each side of a mark in a long context."""


def escaped(text: str) -> str:
    """Make text safe inside HTML; line breaks survive what Streamlit does to indented lines."""
    return html.escape(text).replace("\r\n", "\n").replace("\r", "\n").replace("\n", "&#10;")


def joined(spans: Iterable[Span], length: int) -> list[tuple[int, int]]:
    """Sort spans, cut them to 0..length, and join those that overlap or touch; empty ones are dropped."""
    result: list[tuple[int, int]] = []
    for start, end in sorted((max(0, span.start), min(length, span.end)) for span in spans):
        if start >= end:
            continue
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def marked(context: str, spans: Iterable[Span]) -> str:
    """Give the context as escaped HTML with each supporting part in a `mark` element.

    Args:
        context: Any text.
        spans: Parts in code points; they may overlap, touch, or reach outside.
    """
    marks = joined(spans, len(context))
    pieces: list[str] = []
    shown_to = 0
    for start, end in _windows(marks, len(context)):
        pieces.append(_gap(start - shown_to))
        position = start
        for mark_start, mark_end in marks:
            if start <= mark_start < end:
                pieces.append(escaped(context[position:mark_start]))
                pieces.append(f"<mark>{escaped(context[mark_start:mark_end])}</mark>")
                position = mark_end
        pieces.append(escaped(context[position:end]))
        shown_to = end
    pieces.append(_gap(len(context) - shown_to))
    return "".join(pieces)


def _windows(marks: list[tuple[int, int]], length: int) -> list[tuple[int, int]]:
    if length <= WHOLE_UP_TO:
        return [(0, length)]
    around = [Span(start=start - AROUND, end=end + AROUND) for start, end in marks]
    return joined(around, length) or [(0, 2 * AROUND)]


def _gap(characters: int) -> str:
    return f'<span class="gap">{characters:,} more characters</span>' if characters > 0 else ""
