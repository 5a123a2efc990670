"""A question-answer row as text: rendered with its positions, and cut to a number of tokens where it is too long."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from components.core.tasks.prompt import Prompt
from components.core.tasks.rendering import Layout, TextEncoder

if TYPE_CHECKING:
    from tokenizers import Encoding

_CHARACTERS_PER_TOKEN = 16
"""A context longer than this on average counts as too long unseen, so that a huge one costs nothing."""
_ROUNDS = 4
"""Times that a window is narrowed before a row counts as one that does not fit."""
_SNAP = 40
"""Characters that a cut may move to fall between words."""


@dataclass
class Example:
    """One row on its way to token ids; the last three are set by `Renderer`, in characters of `text`."""

    context: str
    question: str
    answer: str | None
    """None renders the prompt only."""
    anchor: tuple[int, int] | None
    """Start and end of the answer in the context; None keeps the start of a context that is cut."""
    cut: bool = False
    text: str = field(default="", init=False)
    context_start: int = field(default=0, init=False)
    answer_start: int = field(default=0, init=False)

    def keep(self, start: int, end: int) -> None:
        """Cut the context to a range of its characters, and move the anchor with it."""
        if self.anchor is not None:
            first, last = self.anchor
            self.anchor = (first - start, last - start) if start <= first and last <= end else None
        self.context, self.cut = self.context[start:end], True


class Renderer:
    """Writes examples in the layout of one prompt and one tokenizer, and encodes them."""

    def __init__(self, prompt: Prompt, layout: Layout, encoder: TextEncoder) -> None:
        self._layout, self._encoder = layout, encoder
        pieces = prompt.pieces()
        self._pieces = [encoder.shield(piece) for piece in pieces[::2]]
        self._context_first = pieces[1] == "context"

    def encode(self, examples: Sequence[Example]) -> "list[Encoding]":
        """Render and encode examples in one pass."""
        for example in examples:
            self._render(example)
        return self._encoder.encode([example.text for example in examples])

    def _render(self, example: Example) -> None:
        layout, (first, second, third) = self._layout, self._pieces
        if self._context_first:
            start = len(first)
            message = f"{first}{example.context}{second}{example.question}{third}"
        else:
            start = len(first) + len(example.question) + len(second)
            message = f"{first}{example.question}{second}{example.context}{third}"
        if layout.strips_message:
            start -= len(message) - len(message.lstrip())
            message = message.strip()
        before = f"{layout.head}{message}{layout.middle}"
        example.context_start, example.answer_start = len(layout.head) + start, len(before)
        example.text = (
            before if example.answer is None else f"{before}{layout.answer_prefix}{example.answer}{layout.tail}"
        )


def encode_to_fit(examples: Sequence[Example], renderer: Renderer, room: int, window: bool) -> "list[Encoding | None]":
    """Encode examples within `room` tokens; None for one that does not fit.

    Args:
        examples: Examples with their whole context; a cut is written into them.
        renderer: How they are written and encoded.
        room: Tokens of the rendered text.
        window: True cuts contexts that are too long around the answer; False gives None for them.
    """
    fitted: list[Encoding | None] = [None] * len(examples)
    tried = []
    for number, example in enumerate(examples):
        limit = _CHARACTERS_PER_TOKEN * max(room, 1)
        if len(example.context) > limit:
            if not window:
                continue
            example.keep(*_around(len(example.context), example.anchor, limit))
        tried.append(number)
    too_long: list[tuple[int, Encoding]] = []
    for number, encoding in zip(tried, renderer.encode([examples[number] for number in tried]), strict=True):
        if len(encoding) <= room:
            fitted[number] = encoding
        elif window:
            too_long.append((number, encoding))
    if too_long:
        _narrow(examples, too_long, renderer, room, fitted)
    return fitted


def first_token_from(encoding: "Encoding", position: int, end: int) -> int:
    """Index of the first token at or after a character; a token that straddles it counts as after."""
    for character in range(position, end):
        token = encoding.char_to_token(character)
        if token is not None:
            return int(token)
    return len(encoding)


def _narrow(
    examples: Sequence[Example],
    too_long: "list[tuple[int, Encoding]]",
    renderer: Renderer,
    room: int,
    fitted: "list[Encoding | None]",
) -> None:
    """Cut contexts down to what `room` leaves for them; a cut changes tokens at its ends, so it is tried again."""
    cutters = [(number, _Cutter(examples[number], encoding)) for number, encoding in too_long]
    for _ in range(_ROUNDS):
        cutters = [(number, cutter) for number, cutter in cutters if cutter.cut_to(room)]
        if not cutters:
            return
        encodings = renderer.encode([examples[number] for number, _ in cutters])
        remaining = []
        for (number, cutter), encoding in zip(cutters, encodings, strict=True):
            if len(encoding) <= room:
                fitted[number] = encoding
            else:
                cutter.surplus += len(encoding) - room
                remaining.append((number, cutter))
        cutters = remaining


class _Cutter:
    """Cuts the context of one example by the token offsets of its first encoding."""

    def __init__(self, example: Example, encoding: "Encoding") -> None:
        self._example, self._context, self._anchor = example, example.context, example.anchor
        start, end = example.context_start, example.context_start + len(example.context)
        self._spans = [(a - start, b - start) for a, b in encoding.offsets if a >= start and b <= end and a < b]
        self._fixed = len(encoding) - len(self._spans)
        self.surplus = 0
        """Tokens to leave out beyond what the first encoding says."""

    def cut_to(self, room: int) -> bool:
        """Cut the example's context so that it should fit; False if no useful context would be left."""
        budget = room - self._fixed - self.surplus
        anchor = None
        if self._anchor is not None:
            inside = [i for i, (a, b) in enumerate(self._spans) if b > self._anchor[0] and a < self._anchor[1]]
            anchor = (inside[0], inside[-1] + 1) if inside else None
        if budget < 1 or (anchor and anchor[1] - anchor[0] > budget):
            return False
        first, last = _around(len(self._spans), anchor, budget)
        if first >= last:
            return False
        start, end = _snap(self._context, self._spans[first][0], self._spans[last - 1][1], self._anchor)
        self._example.context, self._example.anchor = self._context, self._anchor
        self._example.keep(start, end)
        return True


def _around(length: int, anchor: tuple[int, int] | None, budget: int) -> tuple[int, int]:
    """A range of at most `budget` positions out of `length`, centred on the anchor, or the first ones without it."""
    if anchor is None:
        return 0, min(budget, length)
    start = max(0, anchor[0] - max(0, budget - (anchor[1] - anchor[0])) // 2)
    start = max(0, min(start, length - budget))
    return start, min(length, start + budget)


def _snap(context: str, start: int, end: int, anchor: tuple[int, int] | None) -> tuple[int, int]:
    """Move the ends of a cut inwards to the next space, as long as the answer stays inside."""
    latest = min(start + _SNAP, anchor[0] if anchor else end)
    if start and not context[start - 1].isspace():
        start = next((i + 1 for i in range(start, latest) if context[i].isspace()), start)
    earliest = max(end - _SNAP, anchor[1] if anchor else start)
    if end < len(context) and not context[end].isspace():
        end = next((i for i in range(end - 1, earliest - 1, -1) if context[i].isspace()), end)
    while start < end and context[start].isspace():
        start += 1
    while end > start and context[end - 1].isspace():
        end -= 1
    return start, end
