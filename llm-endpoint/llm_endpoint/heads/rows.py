"""The rows of a request, checked: V1 instances and V2 tensors become the same."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llm_endpoint.errors import InvalidInput
from llm_endpoint.heads.head import Head
from llm_endpoint.heads.words import split_words

MOST_ROWS = 512
"""Rows of one request."""


@dataclass(frozen=True)
class Row:
    """What one prediction is made for."""

    text: str
    """For words without a text of their own: joined by single spaces."""
    pair: str | None = None
    words: Sequence[str] = ()
    offsets: Sequence[tuple[int, int]] = ()
    """Places of the words in the text."""

    def inputs(self) -> dict[str, str]:
        """For traces."""
        return {"text": self.text} if self.pair is None else {"text": self.text, "text_pair": self.pair}


def read_instances(instances: Any, head: Head) -> list[Row]:
    """Rows of a V1 request.

    Raises:
        InvalidInput: Naming the instance by its number.
    """
    if not isinstance(instances, list) or not instances:
        raise InvalidInput(f'send {{"instances": [{_EXAMPLES[head.task == "ner"]}, ...]}}.')
    check_count(len(instances))
    return [read_row(instance, head, f"instances.{number}") for number, instance in enumerate(instances)]


def check_count(rows: int) -> None:
    """Refuse none and too many."""
    if not 1 <= rows <= MOST_ROWS:
        raise InvalidInput(f"{rows} rows: send 1 to {MOST_ROWS} at once.")


def read_row(instance: Any, head: Head, where: str) -> Row:
    """One instance: an object, or just its text.

    Args:
        instance: As it was sent; fields that are not known are ignored.
        head: Of the model.
        where: Named in errors.
    """
    if isinstance(instance, str):
        instance = {"text": instance}
    if not isinstance(instance, Mapping):
        raise InvalidInput(f"{where}: {_kind(instance)} is no text and no object such as {_EXAMPLES[0]}.")
    if head.task == "ner":
        return _word_row(instance, where)
    text = _text(instance.get("text"), f"{where}.text")
    pair = instance.get("text_pair")
    if pair is None:
        return Row(text)
    if not head.pair:
        raise InvalidInput(f"{where}.text_pair: this model was trained on single texts. Leave it out.")
    return Row(text, _text(pair, f"{where}.text_pair"))


def _word_row(instance: Mapping[str, Any], where: str) -> Row:
    words = instance.get("tokens")
    if words is None:
        text = _text(instance.get("text"), f"{where}.text", "text, or tokens")
        found = split_words(text)
        return Row(text, words=found.words, offsets=found.offsets)
    if not isinstance(words, list) or not words:
        raise InvalidInput(f"{where}.tokens: expected a list of words, found {_kind(words)}.")
    checked = [_unicode(word, f"{where}.tokens.{number}") for number, word in enumerate(words)]
    ends, end = [], -1
    for word in checked:
        end += 1 + len(word)
        ends.append(end)
    offsets = [(end - len(word), end) for word, end in zip(checked, ends, strict=True)]
    return Row(" ".join(checked), words=checked, offsets=offsets)


def read_tokens(text: str, where: str) -> Any:
    """The words of a V2 row, a JSON list."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f'{where}: is not a JSON list of words such as ["Ada", "Morrow"].') from error


def _text(value: Any, where: str, expected: str = "text") -> str:
    if value is None:
        raise InvalidInput(f"{where}: is missing; send {expected}.")
    text = _unicode(value, where)
    if not text.strip():
        raise InvalidInput(f"{where}: is empty.")
    return text


def _unicode(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"{where}: expected text, found {_kind(value)}.")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InvalidInput(f"{where}: holds half of a surrogate pair; repair the text.") from error
    return value


def _kind(value: Any) -> str:
    names = {"NoneType": "null", "bool": "true/false", "int": "a number", "float": "a number", "str": "text"}
    if value == []:
        return "an empty list"
    return names.get(type(value).__name__, "a list" if isinstance(value, list) else "an object")


_EXAMPLES = ('{"text": ...}', '{"text": ...} or {"tokens": [...]}')
