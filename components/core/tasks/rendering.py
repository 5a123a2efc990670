"""From text to token ids: the text around a message, and user text that can never become a control token.

A tokenizer turns the string "</s>" inside a document into the real end of sequence. Here, text is encoded by a twin of
the tokenizer whose control tokens have other, unguessable names, and only our own template text is written with those
names. So the whole rendered text is encoded in one pass, merges across pieces included, and data stays data.
"""

import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from components.core.errors import ConfigError
from components.core.recipe import TaskConfig
from components.core.tasks.prompt import Prompt, messages_prompt

if TYPE_CHECKING:
    from tokenizers import Encoding

IGNORED_LABEL = -100
"""Label of a token that carries no loss."""

# lower-case letters and digits, which no normaliser changes
_NONCE = uuid.uuid4().hex
_NAME_LENGTH = len(_NONCE) + 6
_USER, _ANSWER = f"user{_NONCE}", f"answer{_NONCE}"
_PLAIN_CHAT = (
    "{% for message in messages %}{{ message['role'] | capitalize }}:\n{{ message['content'] | trim }}{{ eos_token }}\n"
    "{% endfor %}{% if add_generation_prompt %}Assistant:\n{% endif %}"
)


@dataclass(frozen=True)
class Layout:
    """The fixed text around the user's message and the answer, and the ids around all of it."""

    head: str
    """Text before the message."""
    middle: str
    """Text between message and answer, the last that a model reads before it generates."""
    answer_prefix: str
    """Put before the answer; learned with it."""
    tail: str
    """Text from the answer to the end of its turn; learned with it."""
    first_ids: tuple[int, ...]
    """Ids before everything (BOS where the tokenizer adds one itself)."""
    last_ids: tuple[int, ...]
    """Ids after everything (EOS, unless `tail` ends the turn); learned with the answer."""
    strips_message: bool
    """True: the chat template strips whitespace around the message."""
    stop_ids: tuple[int, ...]
    """Any of these ends a generated answer; empty for a tokenizer without an end token."""


class TextEncoder:
    """Encodes text with a tokenizer's vocabulary; control tokens come from `shield`ed template text only."""

    def __init__(self, tokenizer: Any) -> None:
        from tokenizers import Tokenizer

        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ConfigError(
                f"{type(tokenizer).__name__} has no fast form. Choose a model that comes with a tokenizer.json file."
            )
        spec = json.loads(backend.to_str())
        original_ids = {token["content"]: int(token["id"]) for token in spec["added_tokens"]}
        self._names = {token: f"{_NONCE}{number:06d}" for number, token in enumerate(_control_tokens(tokenizer, spec))}
        # no control token at all must match nothing, not the empty string
        self._pattern = re.compile("|".join(map(re.escape, self._names)) or r"(?!)")
        _rename(spec, self._names)
        self._twin = Tokenizer.from_str(json.dumps(spec))
        # the twin may number its added tokens anew (a vocabulary with holes), so their ids are translated back
        twin_ids = {self._twin.token_to_id(self._names.get(token, token)): i for token, i in original_ids.items()}
        self._translation = {twin: original for twin, original in twin_ids.items() if twin != original}

    def shield(self, text: str) -> str:
        """Template text with its control tokens under the names that this encoder obeys."""
        return self._pattern.sub(lambda match: self._names[match.group()], text)

    def encode(self, texts: Sequence[str]) -> "list[Encoding]":
        """Encode shielded texts in one parallel pass; offsets count the characters of the shielded text."""
        return list(self._twin.encode_batch(texts, add_special_tokens=False))

    def token_ids(self, encoding: "Encoding") -> list[int]:
        """Ids of an encoding in the tokenizer's own numbers."""
        ids: list[int] = encoding.ids
        return [self._translation.get(i, i) for i in ids] if self._translation else ids

    def cut_after_control(self, shielded: str) -> tuple[str, int] | None:
        """Shielded text up to its first control token and that token's id, or None without one."""
        starts = [start for name in self._names.values() if (start := shielded.find(name)) >= 0]
        if not starts:
            return None
        end = min(starts) + _NAME_LENGTH
        return shielded[:end], self.token_ids(self.encode([shielded[:end]])[0])[-1]


def build_prompt(config: TaskConfig, tokenizer: Any) -> Prompt:
    """The prompt of a recipe for one tokenizer: in its chat template where it has one and the recipe allows it.

    Conversations are in a plain chat template otherwise, which goes along with the prompt.
    """
    in_chat = config.chat_template == "auto" and bool(tokenizer.chat_template)
    if config.name == "chat_completion":
        return messages_prompt("" if in_chat else plain_chat_template(tokenizer))
    return Prompt(config.prompt_template, in_chat, config.no_answer_text)


def plain_chat_template(tokenizer: Any) -> str:
    """The chat template for a tokenizer that has none: `User:`, a line break, the message, the end token.

    The end token closes the turns of both sides, since a user can write `Assistant:` but no control token.

    Raises:
        ConfigError: If the tokenizer has no end token, so that no answer could end.
    """
    if tokenizer.eos_token is None:
        raise ConfigError(
            "the tokenizer has no end token, so that no turn of a conversation could end. Choose another base model."
        )
    starts_with_bos = _leading_special_ids(tokenizer) == (tokenizer.bos_token_id,)
    return ("{{ bos_token }}" if starts_with_bos else "") + _PLAIN_CHAT


def text_encoder(tokenizer: Any) -> TextEncoder:
    """The encoder of a tokenizer, built once."""
    return _text_encoder(tokenizer, len(tokenizer), str(tokenizer.chat_template))


def layout(tokenizer: Any, chat_template: bool) -> Layout:
    """How a message and its answer are laid out for a tokenizer.

    Plain: BOS where the tokenizer adds it, message, " " + answer, EOS where the tokenizer has one.
    Chat: what the chat template writes around one user message with the generation prompt, the answer, and the end of
    the turn. The generation prompt wins where a template writes a finished turn differently, since that is what the
    model reads when it serves.

    Raises:
        ConfigError: If the chat template cannot hold one user and one assistant message.
    """
    return _layout(tokenizer, len(tokenizer), str(tokenizer.chat_template) if chat_template else None)


@lru_cache(maxsize=4)
def _text_encoder(tokenizer: Any, _size: int, _template: str) -> TextEncoder:
    return TextEncoder(tokenizer)


@lru_cache(maxsize=4)
def _layout(tokenizer: Any, _size: int, template: str | None) -> Layout:
    eos = () if tokenizer.eos_token_id is None else (int(tokenizer.eos_token_id),)
    if template is None:
        return Layout("", "", " ", "", _leading_special_ids(tokenizer), eos, False, eos)
    encoder = text_encoder(tokenizer)
    user, answer = {"role": "user", "content": _USER}, {"role": "assistant", "content": _ANSWER}
    spaced = {"role": "user", "content": f" {_USER} "}
    asked = _apply(tokenizer, [user], True)
    head, middle = _split_once(asked, _USER)
    _, tail = _split_once(_apply(tokenizer, [user, answer], False), _ANSWER)
    strips = spaced["content"] not in _apply(tokenizer, [spaced], True)
    head, middle, tail = encoder.shield(head), encoder.shield(middle), encoder.shield(tail)
    ours = encoder.token_ids(encoder.encode([f"{head}{_USER}{middle}"])[0])
    if ours != tokenizer(asked, add_special_tokens=False)["input_ids"]:
        raise ConfigError(
            "the tokenizer does not read back the control tokens that its own chat template writes. "
            "Set task.chat_template to `never` to use the plain prompt."
        )
    turn_end = encoder.cut_after_control(tail)
    if turn_end is None:
        return Layout(head, middle, "", "", (), eos, strips, eos)
    return Layout(head, middle, "", turn_end[0], (), (), strips, tuple(dict.fromkeys((turn_end[1], *eos))))


def _apply(tokenizer: Any, messages: list[dict[str, str]], generation: bool) -> str:
    from jinja2 import TemplateError

    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation))
    except (TemplateError, ValueError, TypeError) as error:
        raise ConfigError(
            f"the tokenizer's chat template refuses a question and its answer ({error}). "
            "Set task.chat_template to `never` to use the plain prompt."
        ) from error


def _split_once(text: str, mark: str) -> tuple[str, str]:
    if text.count(mark) != 1:
        raise ConfigError(
            f"the tokenizer's chat template writes a message {text.count(mark)} times, not once. "
            "Set task.chat_template to `never` to use the plain prompt."
        )
    before, _, after = text.partition(mark)
    return before, after


def _leading_special_ids(tokenizer: Any) -> tuple[int, ...]:
    """What the tokenizer itself puts before a text."""
    bare = tokenizer("x", add_special_tokens=False)["input_ids"]
    full = tokenizer("x")["input_ids"]
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return tuple(full[:start])
    return ()


def _control_tokens(tokenizer: Any, spec: dict[str, Any]) -> list[str]:
    """Special tokens and the other added tokens that the chat template writes, longest first.

    Other added tokens, such as runs of spaces, are ordinary text.
    """
    template = str(tokenizer.chat_template or "")
    control = {
        token["content"]
        for token in spec["added_tokens"]
        if token["special"] or (token["content"] in template and not token["content"].isspace())
    }
    return sorted(control, key=lambda token: (-len(token), token))


def _rename(spec: dict[str, Any], names: dict[str, str]) -> None:
    """Give the control tokens of a tokenizer.json other names, in its model too: it must not spell them out of text."""
    for token in spec["added_tokens"]:
        if token["content"] in names:
            # a normaliser that puts something before each text would hide the name
            token.update(content=names[token["content"]], normalized=False)
    model = spec["model"]
    vocab = model.get("vocab")
    if isinstance(vocab, dict):
        model["vocab"] = {names.get(piece, piece): number for piece, number in vocab.items()}
    elif isinstance(vocab, list):
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in vocab]
    if model.get("merges"):
        model["merges"] = [merge for merge in model["merges"] if _merged(merge) not in names]
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    # without a post-processor offsets keep leading spaces, and nothing is added behind our back
    spec.update(post_processor=None, truncation=None, padding=None)


def _merged(merge: Any) -> str:
    return "".join(merge) if isinstance(merge, list) else str(merge).replace(" ", "")
