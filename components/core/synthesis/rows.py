"""Training rows with where they come from: read, held against the chat contract, and as the texts that are compared."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from components.core.metrics import normalize_answer
from components.core.recipe import TaskConfig
from components.core.tasks import Prompt
from components.core.tasks.chat_rows import Message, first_of, parse_chat_row

_LEAST_WORDS = 5
"""A shorter user message ("Yes, please.") is no sign of a copy by itself."""


@dataclass(frozen=True)
class Place:
    """Where a row stands."""

    dataset: str
    split: str
    row: int
    """From 1."""

    def __str__(self) -> str:
        return f"{self.dataset}:{self.split}, row {self.row}" if self.split else f"{self.dataset}, row {self.row}"


@dataclass(frozen=True)
class ChatRow:
    """A canonical conversation and where it comes from."""

    messages: list[Message]
    prompt: str
    """The first user message."""
    prompt_id: str
    place: Place
    category: str = ""
    generator: str = ""
    """The model that wrote it; empty for a person's."""
    seed_prompt: str = ""
    """The prompt that it was made after; empty for one that was not generated."""
    source: str = ""
    """What a row of an earlier merge says of itself."""


@dataclass(frozen=True)
class BadRow:
    """A row that is refused."""

    place: Place
    reason: str
    kind: Literal["bad_row", "private"] = "bad_row"


def parse_rows(raw_rows: Iterable[Mapping[str, Any]], dataset: str, split: str) -> Iterator[ChatRow | BadRow]:
    """Each row in canonical form, or why it is none."""
    for number, raw in enumerate(raw_rows, start=1):
        yield parse_row(raw, Place(dataset, split, number))


def parse_row(raw: Mapping[str, Any], place: Place) -> ChatRow | BadRow:
    """A row in canonical form, or why it is none."""
    row, findings = parse_chat_row(raw)
    if row is None:
        reasons = "; ".join(finding.message for finding in findings if finding.severity == "error")
        # the tools have no such key
        return BadRow(place, reasons.removesuffix(" Map names with data.columns."))
    texts = {name: _text(raw, name) for name in ("category", "generator", "seed_prompt", "source")}
    return ChatRow(row["messages"], row["prompt"], row["prompt_id"], place, **texts)


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    return value if isinstance(value, str) else ""


class Comparing:
    """What of a conversation is compared.

    A prompt template around context and question is taken off: by its words all questions on one context would be
    near copies of each other.
    """

    def __init__(self, prompts: Iterable[Prompt] = ()) -> None:
        """Take off these templates, and the default one."""
        default = TaskConfig()
        known = [*prompts, Prompt(default.prompt_template, True, default.no_answer_text)]
        self._templates = [_pattern(prompt) for prompt in known if prompt.format == "question"]

    def key(self, row: ChatRow) -> str:
        """Everything before the last answer, one message a line, without differences in case and white space."""
        return "\n".join(self._asked(message["content"]) for message in row.messages[:-1])

    def answer(self, row: ChatRow) -> str:
        """The last answer, normalised."""
        return normalize_answer(row.messages[-1]["content"])

    def asked(self, row: ChatRow) -> list[str]:
        """The key and every user message: a test prompt must not come back inside a longer conversation either."""
        said = [message["content"] for message in row.messages if message["role"] == "user"]
        parts = [self._asked(text) for text in said if len(text.split()) >= _LEAST_WORDS]
        return list(dict.fromkeys([self.key(row), *parts]))

    def _asked(self, text: str) -> str:
        for template in self._templates:
            found = template.fullmatch(text.strip())
            if found is not None:
                return "\n".join(_folded(found[name]) for name in ("context", "question"))
        return _folded(text)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _pattern(prompt: Prompt) -> re.Pattern[str]:
    pieces = prompt.pieces()
    quote: Callable[[str], str] = re.escape
    parts = [f"(?P<{piece}>.*?)" if number % 2 else quote(piece) for number, piece in enumerate(pieces)]
    parts[0], parts[-1] = quote(pieces[0].lstrip()), quote(pieces[-1].rstrip())
    # the question is what follows the last mark: a context may hold the words of the template
    parts[1] = parts[1].replace(".*?", ".*")
    return re.compile("".join(parts), re.DOTALL)


def system_of(messages: list[Message]) -> str:
    """The system message; "" where there is none."""
    return first_of(messages, "system")
