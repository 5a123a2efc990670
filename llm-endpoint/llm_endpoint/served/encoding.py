"""From messages to token ids, as in training: control tokens come from templates only, never from what users write.

A tokenizer turns the string "</s>" inside a document into the real end of sequence. Text is therefore encoded by a twin
of the tokenizer whose control tokens have unguessable names, and only template text is written with those names.
"""

import json
import re
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llm_endpoint.engines.seam import GenerationRequest, Message
from llm_endpoint.errors import InvalidInput, ModelError
from llm_endpoint.served.chat import ChatTemplate, read_chat_template

# lower-case letters and digits, which no normaliser changes
_NONCE = uuid.uuid4().hex
_NAME_LENGTH = len(_NONCE) + 6


class PromptEncoder:
    """Encodes requests for one model folder."""

    def __init__(self, folder: Path, in_chat: bool) -> None:
        from tokenizers import Tokenizer

        try:
            raw = (folder / "tokenizer.json").read_text(encoding="utf-8")
            self.tokenizer = Tokenizer.from_str(raw)
        except Exception as error:  # tokenizers raises bare Exception
            raise ModelError(f"cannot load {folder / 'tokenizer.json'}: {error}. Publish the model again.") from error
        spec = json.loads(raw)
        self._chat: ChatTemplate | None = read_chat_template(folder) if in_chat else None
        source = self._chat.source if self._chat else ""
        original = {token["content"]: int(token["id"]) for token in spec["added_tokens"]}
        self._names = {token: f"{_NONCE}{number:06d}" for number, token in enumerate(_control_tokens(spec, source))}
        self._back = {name: token for token, name in self._names.items()}
        # no control token at all must match nothing, not the empty string
        self._control = re.compile("|".join(map(re.escape, self._names)) or r"(?!)")
        self._shielded = re.compile(re.escape(_NONCE) + r"\d{6}")
        _rename(spec, self._names)
        self._twin = Tokenizer.from_str(json.dumps(spec))
        # the twin may number its added tokens anew (a vocabulary with holes)
        twin_ids = {self._twin.token_to_id(self._names.get(token, token)): i for token, i in original.items()}
        self._translation = {twin: number for twin, number in twin_ids.items() if twin != number}
        self._first_ids = [] if self._chat else _leading_ids(self.tokenizer)
        self.stop_ids = _end_ids(folder, self.tokenizer) | self._turn_end()

    def encode(self, request: GenerationRequest) -> list[int]:
        """Token ids of a request, BOS included where the tokenizer adds one.

        Raises:
            InvalidInput: If the chat template refuses the messages, or a model without one gets a conversation.
        """
        said = request.answer_start
        if request.text is not None:
            return [*self._plain_ids(), *self._ids(request.text + said)]
        if self._chat is None:
            if len(request.messages) != 1:
                raise InvalidInput("this model has no chat template: send one user message.")
            prompt = request.messages[0].content
            # a model begins with the space that its prompt ends before; another one's words may lack it
            gap = " " if said and not (said[0].isspace() or prompt[-1:].isspace()) else ""
            return [*self._first_ids, *self._ids(prompt + gap + said)]
        return self._ids(self._render(request.messages) + said)

    def shield(self, template_text: str) -> str:
        """Template text with its control tokens under the names that the encoder obeys."""
        return self._control.sub(lambda match: self._names[match.group()], template_text)

    def unshield(self, text: str) -> str:
        """The same text as people know it."""
        return self._shielded.sub(lambda match: self._back.get(match.group(), match.group()), text)

    def _plain_ids(self) -> list[int]:
        return self._first_ids if self._chat is None else _leading_ids(self.tokenizer)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._twin.encode(text, add_special_tokens=False).ids
        return [self._translation.get(i, i) for i in ids] if self._translation else ids

    def _render(self, messages: Sequence[Message]) -> str:
        assert self._chat is not None
        if messages[0].role == "system" and len(messages) > 1 and self._chat.folds_system:
            # as in training: before the first user message
            first = Message(messages[1].role, f"{messages[0].content}\n\n{messages[1].content}")
            messages = [first, *messages[2:]]
        marks = [f"text{_NONCE}n{number}x" for number in range(len(messages))]
        stand_ins = [{"role": m.role, "content": mark} for m, mark in zip(messages, marks, strict=True)]
        text = self.shield(self._chat.render(stand_ins, generation=True))
        for message, mark in zip(messages, marks, strict=True):
            content = message.content.strip() if message.role in self._chat.stripped_roles else message.content
            text = text.replace(mark, content)
        return text

    def _turn_end(self) -> set[int]:
        """The control token with which the chat template ends an answer."""
        if self._chat is None:
            return set()
        user, answer = f"user{_NONCE}", f"answer{_NONCE}"
        turns = [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]
        tail = self.shield(self._chat.render(turns, generation=False).partition(answer)[2])
        match = self._shielded.search(tail)
        return {self._ids(tail[: match.end()])[-1]} if match else set()


def _control_tokens(spec: dict[str, Any], template: str) -> list[str]:
    """Special tokens and the other added tokens that the chat template writes, longest first."""
    control = {
        token["content"]
        for token in spec["added_tokens"]
        if token["special"] or (token["content"] in template and not token["content"].isspace())
    }
    return sorted(control, key=lambda token: (-len(token), token))


def _rename(spec: dict[str, Any], names: dict[str, str]) -> None:
    """Give control tokens other names, in the model too: it must not spell them out of text."""
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
    spec.update(post_processor=None, truncation=None, padding=None)


def _merged(merge: Any) -> str:
    return "".join(merge) if isinstance(merge, list) else str(merge).replace(" ", "")


def _leading_ids(tokenizer: Any) -> list[int]:
    """What the tokenizer itself puts before a text."""
    bare, full = tokenizer.encode("x", add_special_tokens=False).ids, tokenizer.encode("x").ids
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return list(full[:start])
    return []


def _end_ids(folder: Path, tokenizer: Any) -> set[int]:
    """End tokens that the folder's configurations name."""
    found: set[int] = set()
    for name in ("config.json", "generation_config.json"):
        if (folder / name).is_file():
            value = json.loads((folder / name).read_text(encoding="utf-8")).get("eos_token_id")
            found.update(value if isinstance(value, list) else [] if value is None else [value])
    config_file = folder / "tokenizer_config.json"
    if config_file.is_file():
        eos = json.loads(config_file.read_text(encoding="utf-8")).get("eos_token")
        text = eos.get("content") if isinstance(eos, dict) else eos
        number = tokenizer.token_to_id(text) if text else None
        found.update(() if number is None else (number,))
    return found
