"""From texts, pairs and words to token ids, as the model was trained on them.

Text is data: a control token's name inside it ("[SEP]", "</s>") is read as plain characters.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llm_endpoint.errors import InvalidInput, ModelError
from llm_endpoint.heads.head import Head
from llm_endpoint.heads.rows import Row

NO_TOKEN = -1
"""Place of a word that the tokenizer turns into nothing, such as a zero-width space."""


@dataclass(frozen=True)
class Piece:
    """One input of the model: a row, or a part of a long row of words."""

    row: int
    """Which row it belongs to, counted in its request."""
    input_ids: Sequence[int]
    token_type_ids: Sequence[int]
    words: Sequence[int] = ()
    """Place of each word's last token in `input_ids`, or NO_TOKEN."""
    first_word: int = 0
    """Which word of the row `words[0]` is."""


@dataclass(frozen=True)
class Encoded:
    """The rows of a request as the model reads them."""

    pieces: list[Piece]
    """In the order of the rows, at least one for each."""
    cut: list[bool]
    """By row: a part of its text was left out, because it was longer than the model reads."""


class InputEncoder:
    """Encodes rows for one model; safe in several threads at once.

    Args:
        folder: Holds tokenizer.json.
        head: Of the model.

    Raises:
        ModelError: If the tokenizer cannot be read, or leaves no room for text.
    """

    def __init__(self, folder: Path, head: Head) -> None:
        from tokenizers import Tokenizer

        try:
            content = (folder / "tokenizer.json").read_text(encoding="utf-8")
            self._tokenizer: Any = Tokenizer.from_str(_hide_control_tokens(content))
        except Exception as error:  # the library raises bare Exceptions
            raise ModelError(f"cannot load {folder / 'tokenizer.json'}: {error}. Publish the folder again.") from error
        self._head = head
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._tokenizer.encode_special_tokens = True
        self._before, self._after = _surroundings(self._tokenizer, folder)
        self._room = head.max_seq_length - len(self._before) - len(self._after)
        if self._room < 1:
            raise ModelError(f"max_seq_length {head.max_seq_length} of {folder} leaves no room for a token of text.")
        if head.task != "ner":
            self._tokenizer.enable_truncation(head.max_seq_length, strategy="longest_first")

    def encode(self, rows: Sequence[Row]) -> Encoded:
        """Encode the rows of a request.

        Raises:
            InvalidInput: If the model cannot read a pair.
        """
        if self._head.task == "ner":
            return self._encode_words(rows)
        joiner = self._head.pair_joiner
        inputs: list[Any] = [
            row.text
            if row.pair is None
            else (row.text, row.pair)
            if joiner is None
            else f"{row.text}{joiner}{row.pair}"
            for row in rows
        ]
        pairs = any(isinstance(each, tuple) for each in inputs)
        if pairs and self._tokenizer.num_special_tokens_to_add(is_pair=True) >= self._head.max_seq_length:
            raise InvalidInput(f"the model reads {self._head.max_seq_length} tokens, too few for a pair.")
        try:
            encodings = self._tokenizer.encode_batch_fast(inputs)
        except Exception as error:  # the tokenizers library raises bare Exceptions
            raise _unreadable(error) from error
        pieces = [self._piece(row, encoding.ids, encoding.type_ids) for row, encoding in enumerate(encodings)]
        return Encoded(pieces, [bool(encoding.overflowing) for encoding in encodings])

    def _encode_words(self, rows: Sequence[Row]) -> Encoded:
        """Words joined by single spaces; a long row becomes several pieces, parted between words.

        Only a single word that is longer than a whole input loses its end.
        """
        try:
            encodings = self._tokenizer.encode_batch([" ".join(row.words) for row in rows], add_special_tokens=False)
        except Exception as error:  # the tokenizers library raises bare Exceptions
            raise _unreadable(error) from error
        pieces: list[Piece] = []
        cut = []
        for number, (row, encoding) in enumerate(zip(rows, encodings, strict=True)):
            read, ends = _token_ranges(row.words, encoding.offsets)
            cut.append(self._part(number, encoding.ids, read, ends, pieces))
        return Encoded(pieces, cut)

    def _part(self, row: int, ids: list[int], read: list[bool], ends: list[int], pieces: list[Piece]) -> bool:
        """Add the pieces of one row, given which words have tokens and where each word's end; whether text was lost."""
        lost, first = False, 0
        while first < len(ends):
            start = ends[first - 1] if first else 0
            stop_word = first + 1
            while stop_word < len(ends) and ends[stop_word] - start <= self._room:
                stop_word += 1
            stop = min(ends[stop_word - 1], start + self._room)
            lost = lost or stop < ends[stop_word - 1]
            shift = len(self._before) - start - 1
            places = [min(ends[word], stop) + shift if read[word] else NO_TOKEN for word in range(first, stop_word)]
            whole = [*self._before, *ids[start:stop], *self._after]
            pieces.append(self._piece(row, whole, [0] * len(whole), places, first))
            first = stop_word
        return lost

    def _piece(
        self, row: int, ids: Sequence[int], types: Sequence[int], words: Sequence[int] = (), first_word: int = 0
    ) -> Piece:
        # a model reads at least one token
        return Piece(row, ids or [self._head.pad_token_id], types or [0], words, first_word)


def _hide_control_tokens(content: str) -> str:
    """A tokenizer.json in which no text becomes a control token; the ids that frame a text stay.

    `encode_special_tokens` alone is not enough: where the vocabulary holds "</s>" as one more piece, models of these
    kinds find it in plain text.
    """
    settings = json.loads(content)
    model, added = settings["model"], settings.get("added_tokens") or []
    kind, vocabulary = model.get("type"), model.get("vocab")
    if not (kind in ("Unigram", "WordLevel", "WordPiece") or model.get("ignore_merges")):
        return content
    pieces = [piece for piece, _ in vocabulary] if isinstance(vocabulary, list) else list(vocabulary)
    # an unknown word is known by this name, in Unigram by its number
    controls = {token["content"] for token in added if token["special"]} - {model.get("unk_token")}
    hidden = {piece: piece + secrets.token_hex(8) for piece in controls.intersection(pieces)}
    if not hidden:
        return content
    if isinstance(vocabulary, list):
        model["vocab"] = [[hidden.get(piece, piece), score] for piece, score in vocabulary]
    else:
        model["vocab"] = {hidden.get(piece, piece): number for piece, number in vocabulary.items()}
    # left there, one would get another number, since its name is gone
    settings["added_tokens"] = [token for token in added if token["content"] not in hidden]
    return json.dumps(settings)


def _surroundings(tokenizer: Any, folder: Path) -> tuple[list[int], list[int]]:
    """Ids that are put before and behind a single text."""
    for probe in ("a", "1", ".", "w1"):
        try:
            around = tokenizer.encode(probe)
        except Exception:  # a vocabulary of words that lacks this one, and has no unknown word
            continue
        inner = [place for place, special in enumerate(around.special_tokens_mask) if not special]
        if inner:
            return around.ids[: inner[0]], around.ids[inner[-1] + 1 :]
    raise ModelError(f"{folder / 'tokenizer.json'} reads no text. Publish the folder again.")


def _unreadable(error: Exception) -> InvalidInput:
    return InvalidInput(f"the model's tokenizer cannot read a row ({error}). Send other text.")


def _token_ranges(words: Sequence[str], offsets: Sequence[tuple[int, int]]) -> tuple[list[bool], list[int]]:
    """For each word whether it has tokens, and one past its last; one without ends where the word before does."""
    lengths = np.array([len(word) for word in words])
    starts = np.concatenate(([0], np.cumsum(lengths[:-1] + 1))).astype(np.intp)
    ends = np.zeros(len(words), dtype=np.intp)
    if offsets:
        # a token may begin with the space before its word, so its last character tells whose it is
        last = np.array([end - 1 for _, end in offsets])
        word = np.searchsorted(starts, last, side="right") - 1
        inside = (last >= 0) & (last < starts[word] + lengths[word])
        np.maximum.at(ends, word[inside], np.flatnonzero(inside) + 1)
    return (ends > 0).tolist(), np.maximum.accumulate(ends).tolist()
