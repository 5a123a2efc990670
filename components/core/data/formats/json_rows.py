"""Rows of JSON Lines files and of JSON documents (an array, {"data": [...]}, official SQuAD), streamed."""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.core.data.formats import json_text, squad
from components.core.data.formats.lines import Stream, open_bytes, read_lines
from components.core.data.formats.parsed import BrokenFile, Limits, Parsed, bad_row, remark

_SPACE = " \t\r\n"
_FIRST_KEY = re.compile(rb'\s*\{\s*(?:"((?:[^"\\]|\\.)*)"|(\}))')
_DOCUMENT_KEYS = {b"version", b"data"}
_CHUNK_BYTES = 2**18
_HEAD_BYTES = 4096
_ARTICLE_BYTES = 64 * 2**20
"""An article of a nested SQuAD file may be this much larger than one row."""


def read_jsonl(path: Path, limits: Limits) -> Iterator[Parsed]:
    """Rows of a JSON Lines file; one that holds a JSON array is read as such, with a remark."""
    with open_bytes(path, limits) as stream:
        if stream.peek(_HEAD_BYTES)[:_HEAD_BYTES].lstrip().startswith(b"["):
            yield remark(0, "json_array_in_jsonl", "holds one JSON array, not one object per line; read as .json")
            yield from _array(_Text(stream, limits))
            return
        yield from _lines(stream, limits)


def read_json(path: Path, limits: Limits) -> Iterator[Parsed]:
    """Rows of a JSON document; one that holds an object per line is read as JSON Lines, with a remark."""
    with open_bytes(path, limits) as stream:
        head = stream.peek(_HEAD_BYTES)[:_HEAD_BYTES]
        if head.lstrip().startswith(b"["):
            yield from _array(_Text(stream, limits))
            return
        if _is_lines(head.lstrip()):
            yield remark(0, "jsonl_in_json", "holds one JSON object per line; read as .jsonl")
            yield from _lines(stream, limits)
            return
        yield from _document(_Text(stream, limits))


def _is_lines(head: bytes) -> bool:
    """True when a .json file starts with a whole row on its first line."""
    key = _FIRST_KEY.match(head)
    line, newline, _ = head.partition(b"\n")
    whole = line.rstrip().endswith((b"}", b"},")) if newline else len(head) >= _HEAD_BYTES
    return bool(key and key.group(1) not in _DOCUMENT_KEYS and whole)


def _lines(stream: Stream, limits: Limits) -> Iterator[Parsed]:
    for number, line in read_lines(stream, limits.row_bytes):
        if line is None:
            yield bad_row(number, "row_too_long", f"longer than {limits.row_bytes:,} bytes (data.max_row_bytes)")
        elif not line.strip():
            yield remark(number, "blank_line", "a line without text; skipped")
        else:
            yield from _line(number, line)


def _line(number: int, line: bytes) -> Iterator[Parsed]:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        yield bad_row(number, "not_utf8", f"not UTF-8 at byte {error.start} of the line; save the file as UTF-8")
        return
    try:
        value, end, findings = json_text.decode(text, len(text) - len(text.lstrip(_SPACE)))
        if text[end:].strip(_SPACE):
            raise ValueError("more text after the object (two on one line, or lines that end in CR only?)")
    except ValueError as error:
        yield bad_row(number, *json_text.explain(text, error))
        return
    if isinstance(value, dict) and squad.is_article(value):
        yield from squad.read_article(value, number - 1, findings)
        return
    yield _row(number, value, findings, b"\\u" in line)


def _row(number: int, value: Any, findings: tuple[Any, ...], escapes: bool) -> Parsed:
    if not isinstance(value, dict):
        return bad_row(
            number, "not_an_object", f"a JSON {_type_name(value)}, expected an object with the row's columns"
        )
    if escapes and json_text.has_lone_surrogate(value):
        return bad_row(number, "invalid_unicode", "a \\u escape is half of a surrogate pair: not text")
    return Parsed(number, value, findings)


def _type_name(value: Any) -> str:
    names = {list: "array", str: "string", bool: "boolean", int: "number", float: "number", type(None): "null"}
    return names.get(type(value), type(value).__name__)


class _Text:
    """A sliding window over the decoded text of a document."""

    def __init__(self, stream: Stream, limits: Limits) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._bytes = 0
        self._value_bytes = max(limits.row_bytes, _ARTICLE_BYTES)
        self.text = ""
        self.at = 0
        self.ended = False

    def more(self, size: int = _CHUNK_BYTES) -> bool:
        """Decode the next bytes; False at the end."""
        data = self._stream.read(size)
        try:
            decoded = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            at = self._bytes + error.start
            raise BrokenFile("not_utf8", f"not UTF-8 near byte {at:,} of the file; save it as UTF-8") from error
        self._bytes += len(data)
        self.text = self.text[self.at :] + decoded
        self.at = 0
        self.ended = not data
        return bool(data)

    def peek(self) -> str:
        """The next character that is not white space, or "" at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in _SPACE:
                self.at += 1
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def take(self, expected: str, row: int) -> None:
        """Step over one expected character."""
        found = self.peek()
        if found != expected:
            what = "the file ends" if not found else "something else stands there"
            kind = "incomplete_file" if not found else "invalid_json"
            raise BrokenFile(kind, f"not valid JSON: expected {expected!r} after item {row} but {what}", row)
        self.at += 1

    def value(self, row: int) -> tuple[Any, tuple[Any, ...]]:
        """Decode the next value, reading as much as it needs."""
        self.peek()
        size = _CHUNK_BYTES
        while True:
            try:
                value, end, findings = json_text.decode(self.text, self.at)
            except json_text.NotFinite as error:
                raise BrokenFile("not_finite", f"{error}; write null or a real number", row) from error
            except ValueError as error:
                if len(self.text) - self.at > self._value_bytes:
                    raise BrokenFile(
                        "invalid_json", f"not valid JSON, or one value over {self._value_bytes:,} bytes", row
                    ) from error
                if self.more(size):
                    size *= 2  # doubling keeps the repeated decoding linear in the value's length
                    continue
                kind, message = json_text.explain(self.text[self.at :].strip("[]" + _SPACE), error)
                raise BrokenFile(kind, message, row) from error
            if end == len(self.text) and not self.ended and self.more():
                continue  # a number or a cut literal may go on
            self.at = end
            return value, findings


def _document(text: _Text) -> Iterator[Parsed]:
    """Rows of {"data": [...]}; other keys are skipped."""
    if not text.peek():
        return
    text.take("{", 0)
    found: list[str] = []
    while text.peek() not in ("}", ""):
        key, _ = text.value(0)
        text.take(":", 0)
        if key == "data" and text.peek() == "[":
            yield from _array(text, closes_file=False)
            return
        found.append(str(key))
        text.value(0)
        if text.peek() == ",":
            text.at += 1
    names = ", ".join(found)[:200] or "nothing"
    raise BrokenFile(
        "wrong_format", f'expected a JSON array of rows or {{"data": [...]}}; found an object with {names}'
    )


def _array(text: _Text, closes_file: bool = True) -> Iterator[Parsed]:
    text.take("[", 0)
    item = rows = 0
    while text.peek() != "]":
        if item:
            text.take(",", item)
            if text.peek() == "]":
                raise BrokenFile("trailing_comma", f"trailing comma after item {item} of the array; remove it", item)
        item += 1
        value, findings = text.value(rows + 1)
        if isinstance(value, dict) and squad.is_article(value):
            if rows == 0:
                yield remark(0, "nested_squad", "official nested SQuAD; flattened to one row per question")
            for parsed in squad.read_article(value, rows, findings):
                rows = parsed.row
                yield parsed
        else:
            rows += 1
            yield _row(rows, value, findings, escapes=True)
    text.take("]", item)
    if closes_file and text.peek():
        raise BrokenFile("invalid_json", "not valid JSON: more text after the array", rows)
