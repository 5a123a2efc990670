"""How a tokenizer's chat template writes a conversation: its own text, where messages go, and what of it is learned.

A template is rendered once for each sequence of roles, with marks instead of messages. A conversation is then written
by putting its messages between the pieces, so that no message is ever read by Jinja or taken for a control token.
"""

import logging
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from components.core.errors import ConfigError
from components.core.tasks.chat_rows import ROLES, Message
from components.core.tasks.rendering import TextEncoder, text_encoder

logger = logging.getLogger(__name__)

# lower-case letters and digits, which no template changes
_NONCE = uuid.uuid4().hex
_MARK = re.compile(rf"({_NONCE}(?:m\d+x|open|close))")
_OPEN, _CLOSE = f"{_NONCE}open", f"{_NONCE}close"
_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
_REMEMBERED_FORMS = 512


@dataclass(frozen=True)
class Written:
    """A conversation as shielded text."""

    text: str
    learned: list[tuple[int, int]]
    """Characters of each assistant turn, its end included."""
    user_starts: list[int]
    """Where each user message starts."""


@dataclass(frozen=True)
class _Form:
    """How conversations with the same roles are written."""

    pieces: tuple[str | int, ...]
    """Shielded text of the template, and numbers of messages."""
    learned: tuple[tuple[int, int], ...]
    """First piece and one past the last of each assistant turn."""


def chat_layout(tokenizer: Any) -> "ChatLayout":
    """The layout of a tokenizer's chat template, made once."""
    return _chat_layout(tokenizer, len(tokenizer), str(tokenizer.chat_template))


class ChatLayout:
    """Writes conversations in a tokenizer's chat template.

    Raises:
        ConfigError: If the template cannot hold a user and an assistant message.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.encoder: TextEncoder = text_encoder(tokenizer)
        self._template: str = tokenizer.get_chat_template()
        self._special = dict(tokenizer.special_tokens_map)
        self._own_spans = bool(_GENERATION.search(self._template))
        """The template says itself what is generated."""
        self._forms: dict[tuple[tuple[str, ...], bool], _Form] = {}
        self.folds_system = self._refuses_system()
        roles = ("user", "assistant") if self.folds_system else ROLES
        self._strips = {role: self._strips_role(role) for role in roles}
        asked, _ = self._pieces(("user",), generation=True)
        self._lead = asked[-1] if isinstance(asked[-1], str) else ""
        """What the model reads last before it answers."""
        self._turn_end = "" if self._own_spans else self._find_turn_end()
        """What ends an answer."""

    def write(self, messages: Sequence[Message], generation: bool = False) -> Written:
        """Write messages; `generation` adds the start of the assistant's turn.

        Args:
            messages: Of a canonical row, in whole or in part.
            generation: For a conversation that ends with a user.

        Raises:
            ConfigError: If the template refuses them.
        """
        if self.folds_system and messages[0]["role"] == "system":
            messages = fold_system(messages)
        form = self._form(tuple(message["role"] for message in messages), generation)
        parts: list[str] = []
        starts = [0]
        for piece in form.pieces:
            parts.append(piece if isinstance(piece, str) else self._content(messages[piece]))
            starts.append(starts[-1] + len(parts[-1]))
        users = [
            starts[place]
            for place, piece in enumerate(form.pieces)
            if not isinstance(piece, str) and messages[piece]["role"] == "user"
        ]
        return Written("".join(parts), [(starts[first], starts[last]) for first, last in form.learned], users)

    def _content(self, message: Message) -> str:
        return message["content"].strip() if self._strips[message["role"]] else message["content"]

    def _form(self, roles: tuple[str, ...], generation: bool) -> _Form:
        found = self._forms.get((roles, generation))
        if found is None:
            if len(self._forms) >= _REMEMBERED_FORMS:
                self._forms.clear()
            pieces, spans = self._pieces(roles, generation)
            found = _Form(tuple(pieces), tuple(spans)) if self._own_spans else self._cut_at_turns(pieces, roles)
            self._forms[roles, generation] = found
        return found

    def _pieces(self, roles: Sequence[str], generation: bool) -> tuple[list[str | int], list[tuple[int, int]]]:
        """Template text and messages in the order of the text, and the template's own spans between pieces."""
        text = self._render([{"role": role, "content": f"{_NONCE}m{n}x"} for n, role in enumerate(roles)], generation)
        pieces: list[str | int] = []
        spans: list[tuple[int, int]] = []
        opened = 0
        for part in filter(None, _MARK.split(text)):
            if part == _OPEN:
                opened = len(pieces)
            elif part == _CLOSE:
                spans.append((opened, len(pieces)))
            elif _MARK.fullmatch(part):
                pieces.append(int(part[len(_NONCE) + 1 : -1]))
            else:
                pieces.append(self.encoder.shield(part))
        written = sorted(piece for piece in pieces if isinstance(piece, int))
        if written != list(range(len(roles))):
            raise ConfigError(
                f"the tokenizer's chat template does not write each message once ({', '.join(roles)[:80]}). Choose a "
                "model with a template for conversations, or set task.chat_template to `never` for a plain one."
            )
        return pieces, spans

    def _render(self, messages: list[Message], generation: bool) -> str:
        """Rendered text, with marks where the template opens and closes what is generated."""
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template

        own_spans = self._own_spans and not generation
        try:
            texts, spans = render_jinja_template(
                conversations=[messages], chat_template=self._template, add_generation_prompt=generation,
                return_assistant_tokens_mask=own_spans, **self._special,
            )  # fmt: skip
        except (TemplateError, ValueError, TypeError) as error:
            roles = ", ".join(message["role"] for message in messages)[:80]
            raise ConfigError(
                f"the tokenizer's chat template refuses a conversation of {roles} ({error}). "
                "Set task.chat_template to `never` to use the plain one."
            ) from error
        text = str(texts[0])
        for start, end in reversed(spans[0] if own_spans else []):
            text = f"{text[:start]}{_OPEN}{text[start:end]}{_CLOSE}{text[end:]}"
        return text

    def _refuses_system(self) -> bool:
        """Whether the template knows no system message, or leaves it out."""
        try:
            self._pieces(("system", "user", "assistant"), generation=False)
        except ConfigError:
            # one that refuses a user and an assistant as well says so itself
            self._pieces(("user", "assistant"), generation=False)
            logger.info("The chat template knows no system message: it is put before the first user message")
            return True
        return False

    def _strips_role(self, role: str) -> bool:
        before = ["user"] if role == "assistant" else []
        after = ["user"] if role == "system" else []
        messages = [{"role": each, "content": "x"} for each in (*before, role, *after)]
        messages[len(before)]["content"] = spaced = f"\t{_NONCE}\t"
        return spaced not in self._render(messages, generation=False).replace(_OPEN, "").replace(_CLOSE, "")

    def _find_turn_end(self) -> str:
        pieces, _ = self._pieces(("user", "assistant"), generation=False)
        end = self.encoder.cut_after_control(pieces[-1]) if isinstance(pieces[-1], str) else None
        if end is None:
            raise ConfigError(
                "the tokenizer's chat template ends an answer without a control token, so that a model could not learn "
                "to stop. Set task.chat_template to `never` to use the plain one."
            )
        return end[0]

    def _cut_at_turns(self, pieces: Sequence[str | int], roles: Sequence[str]) -> _Form:
        """The form of a template that does not say itself what is generated.

        Learned is what a model has to say: all that follows the generation prompt, up to the end of the turn.
        """
        cut: list[str | int] = []
        learned: list[tuple[int, int]] = []
        opened = 0
        for number, piece in enumerate(pieces):
            if isinstance(piece, int):
                cut.append(piece)
                if roles[piece] == "assistant":
                    learned.append((opened, len(cut)))
                opened = len(cut)
                continue
            before, after = (pieces[n] if 0 <= n < len(pieces) else None for n in (number - 1, number + 1))
            ends = isinstance(before, int) and roles[before] == "assistant" and piece.startswith(self._turn_end)
            answers = isinstance(after, int) and roles[after] == "assistant"
            end = len(self._turn_end) if ends else 0
            # a template that writes a finished turn otherwise than it asks for one: only the message is learned
            start = end + len(self._lead) if answers and piece.startswith(self._lead, end) else len(piece)
            if ends:
                cut.append(piece[:end])
                learned[-1] = (learned[-1][0], len(cut))
            cut += [piece[end:start]] if start > end else []
            opened = len(cut)
            cut += [piece[start:]] if start < len(piece) else []
        return _Form(tuple(cut), tuple(learned))


def fold_system(messages: Sequence[Message]) -> list[Message]:
    """Put a system message before the first user message, with an empty line between."""
    system, user, *rest = messages
    return [{"role": "user", "content": f"{system['content']}\n\n{user['content']}"}, *rest]


@lru_cache(maxsize=4)
def _chat_layout(tokenizer: Any, _size: int, _template: str) -> ChatLayout:
    return ChatLayout(tokenizer)
