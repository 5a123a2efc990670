"""From text to token ids: the text around a message, and user text that can never become a control token.

A tokenizer turns the string "</s>" inside a document into the real end of sequence. Here, text is encoded by a twin of
the tokenizer whose control tokens have other, unguessable names, and only our own template text is written with those
names. So the whole rendered text is encoded in one pass, merges across pieces included, and data stays data.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from components.core.errors import ConfigError, DataError
from components.core.recipe import TaskConfig
from components.core.tasks.prompt import Prompt

if TYPE_CHECKING:
    from tokenizers import Encoding

IGNORED_LABEL = -100
"""Label of a token that carries no loss."""

_NONCE = uuid.uuid4().hex
_USER, _ANSWER = f"user{_NONCE}", f"answer{_NONCE}"


def build_prompt(config: TaskConfig, tokenizer: Any) -> Prompt:
    """The prompt of a recipe for one tokenizer: in its chat template where it has one and the recipe allows it."""
    in_chat = config.chat_template == "auto" and bool(tokenizer.chat_template)
    return Prompt(config.prompt_template, in_chat, config.no_answer_text)


@dataclass(frozen=True)
class Layout:
    """The fixed text around the user's message and the answer."""

    head: str
    """Text before the message."""
    middle: str
    """Text between message and answer, the last that a model sees before it generates."""
    answer_prefix: str
    """Put before the answer; part of what is learned."""
    tail: str
    """Text after the answer up to the end of its turn; part of what is learned."""
    strips: bool
    """True: the chat template strips whitespace around the message."""


class TextEncoder:
    """Encodes text with a tokenizer's vocabulary; control tokens come from `shield`ed template text only."""

    def __init__(self, tokenizer: Any) -> None:
        from tokenizers import Tokenizer

        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ConfigError(
                f"{type(tokenizer).__name__} has no fast tokenizer. Choose a model with a tokenizer.json file."
            )
        spec = json.loads(backend.to_str())
        control = _control_tokens(tokenizer)
        names = {token: f"{_NONCE}{number:06d}" for number, token in enumerate(control)}
        original_ids = {token["content"]: int(token["id"]) for token in spec["added_tokens"]}
        for token in spec["added_tokens"]:
            token["content"] = names.get(token["content"], token["content"])
        # without a post-processor offsets keep leading spaces, and nothing is added behind our back
        spec |= {"post_processor": None, "truncation": None, "padding": None}
        self._twin = Tokenizer.from_str(json.dumps(spec))
        self._names = names
        # the twin numbers its added tokens anew, so their ids are translated back
        self._ids = list(range(self._twin.get_vocab_size() + 1))
        for token, original_id in original_ids.items():
            self._ids[self._twin.token_to_id(names.get(token, token))] = original_id
        self._is_same = all(number == value for number, value in enumerate(self._ids))
        unknown = tokenizer.unk_token_id
        self._control_ids = {original_ids[token] for token in control} - {unknown}
        self._spelled = [token for token in control if original_ids[token] != unknown]

    def shield(self, text: str) -> str:
        """Template text with its control tokens under the names that this encoder obeys."""
        for token, name in self._names.items():
            text = text.replace(token, name)
        return text

    def end_of_first_control(self, shielded: str) -> int | None:
        """Position after the first control token of shielded text, None without one."""
        starts = [start for name in self._names.values() if (start := shielded.find(name)) >= 0]
        return min(starts) + len(_NONCE) + 6 if starts else None

    def encode(self, texts: Sequence[str]) -> list["Encoding"]:
        """Encode shielded texts in one parallel pass; offsets count characters of the shielded text."""
        encodings: list[Encoding] = self._twin.encode_batch(texts, add_special_tokens=False)
        return encodings

    def token_ids(self, encoding: "Encoding", text: str) -> list[int]:
        """Ids of an encoding in the tokenizer's own numbers.

        Raises:
            DataError: If the tokenizer's model itself makes a control token out of plain text.
        """
        ids: list[int] = encoding.ids
        if self._control_ids and any(token in text for token in self._spelled):
            # a control token under its plain name can only stand in user text: shielded template text has none
            plain = [number for number in ids if number < len(self._ids) and self._ids[number] == number]
            if self._control_ids & set(plain) and not self._is_same:
                raise DataError(
                    "a row holds the text of a control token that this tokenizer cannot spell in plain pieces. "
                    "Remove it from the row."
                )
        return ids if self._is_same else [self._ids[number] for number in ids]
