"""From texts, pairs and words to token ids, the same at training, inference and serving.

Text is data: a control token's name inside it ("[SEP]", "</s>") is read as plain characters.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from components.core.errors import ConfigError, StorageError
from components.core.tasks.heads.head import Head

NO_TOKEN = -1
"""Place of a word that the tokenizer turns into nothing, such as a zero-width space."""


@dataclass(frozen=True)
class Piece:
    """One input of the model: a row, or a part of a long row of words."""

    row: int
    """Which row it belongs to, counted in its batch."""
    input_ids: list[int]
    token_type_ids: list[int]
    """As long as `input_ids`; all 0 for a single text."""
    words: list[int] = field(default_factory=list)
    """For words: place in `input_ids` of each one's last token, which has read all of it in a causal model, too; or
    NO_TOKEN."""
    first_word: int = 0
    """Which word of the row `words[0]` is."""


@dataclass(frozen=True)
class EncodedInputs:
    """A batch of rows as the model reads them."""

    pieces: list[Piece]
    """In the order of the rows; at least one for each."""
    cut: list[bool]
    """By row: a part of its text was left out, because it was longer than the model reads."""


class InputEncoder:
    """Encodes rows for one model.

    Args:
        folder: Holds tokenizer.json.
        head: Of the model.

    Raises:
        StorageError: If there is no tokenizer.json or it cannot be read.
        ConfigError: If `max_seq_length` leaves no room for a token of text.
    """

    def __init__(self, folder: Path, head: Head) -> None:
        from tokenizers import Tokenizer

        try:
            content = (folder / "tokenizer.json").read_text(encoding="utf-8")
            self._tokenizer = Tokenizer.from_str(_hide_control_tokens(content))
        except Exception as error:  # the tokenizers library raises bare Exceptions
            raise StorageError(
                f"cannot load {folder / 'tokenizer.json'}: {error}. Choose a model that comes with one."
            ) from error
        self._head = head
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._tokenizer.encode_special_tokens = True
        self._before, self._after = _surroundings(self._tokenizer, folder)
        self._room = self._room_beside(len(self._before) + len(self._after))

    def encode_texts(self, texts: Sequence[str], pairs: Sequence[str | None]) -> EncodedInputs:
        """Encode texts or pairs of them; what is too long loses its end, a pair the end of its longer text.

        Args:
            texts: First texts, length n.
            pairs: Second texts, length n; None for a single text.
        """
        joiner = self._head.pair_joiner
        inputs: list[Any] = [
            text if pair is None else (text, pair) if joiner is None else f"{text}{joiner}{pair}"
            for text, pair in zip(texts, pairs, strict=True)
        ]
        if any(isinstance(each, tuple) for each in inputs):
            self._room_beside(self._tokenizer.num_special_tokens_to_add(is_pair=True))
        self._tokenizer.enable_truncation(self._head.max_seq_length, strategy="longest_first")
        try:
            encodings = self._tokenizer.encode_batch_fast(inputs)
        except Exception as error:  # the tokenizers library raises bare Exceptions
            raise _unreadable(error) from error
        finally:
            self._tokenizer.no_truncation()
        return EncodedInputs(
            [self._piece(row, encoding.ids, encoding.type_ids) for row, encoding in enumerate(encodings)],
            [bool(encoding.overflowing) for encoding in encodings],
        )

    def encode_words(self, rows: Sequence[Sequence[str]]) -> EncodedInputs:
        """Encode rows of words, joined by single spaces; a long row becomes several pieces, parted between words.

        Only a single word that is longer than a whole input loses its end.
        """
        try:
            encodings = self._tokenizer.encode_batch([" ".join(words) for words in rows], add_special_tokens=False)
        except Exception as error:  # the tokenizers library raises bare Exceptions
            raise _unreadable(error) from error
        pieces, cut = [], []
        for row, (words, encoding) in enumerate(zip(rows, encodings, strict=True)):
            found, lost = self._part(row, encoding.ids, *_token_ranges(words, encoding.offsets))
            pieces += found
            cut.append(lost)
        return EncodedInputs(pieces, cut)

    def _room_beside(self, special: int) -> int:
        room = self._head.max_seq_length - special
        if room < 1:
            raise ConfigError(
                f"max_seq_length={self._head.max_seq_length}: leaves no room beside {special} special tokens. Raise it."
            )
        return room

    def _part(self, row: int, ids: list[int], read: list[bool], ends: list[int]) -> tuple[list[Piece], bool]:
        """Pieces of one row, given which words have tokens, and where the tokens of each word end."""
        pieces, lost, first_word = [], False, 0
        while first_word < len(ends):
            start = ends[first_word - 1] if first_word else 0
            stop_word = first_word + 1
            while stop_word < len(ends) and ends[stop_word] - start <= self._room:
                stop_word += 1
            stop = min(ends[stop_word - 1], start + self._room)
            lost = lost or stop < ends[stop_word - 1]
            shift = len(self._before) - start - 1
            places = [
                min(ends[word], stop) + shift if read[word] else NO_TOKEN for word in range(first_word, stop_word)
            ]
            whole = [*self._before, *ids[start:stop], *self._after]
            pieces.append(self._piece(row, whole, [0] * len(whole), places, first_word))
            first_word = stop_word
        return pieces, lost

    def _piece(
        self, row: int, ids: list[int], types: list[int], words: Sequence[int] = (), first_word: int = 0
    ) -> Piece:
        # a model reads at least one token
        return Piece(row, ids or [self._head.pad_token_id], types or [0], list(words), first_word)


def pair_joiner(tokenizer: Any) -> str | None:
    """None where a transformers tokenizer itself marks the border of a pair; else a line break does."""
    single, pair = (tokenizer.num_special_tokens_to_add(pair=pair) for pair in (False, True))
    return None if pair > single else "\n"


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
    raise StorageError(f"{folder / 'tokenizer.json'} reads no text. Choose a model with a tokenizer for text.")


def _unreadable(error: Exception) -> StorageError:
    return StorageError(f"the model's tokenizer cannot read a row ({error}). Choose another model.")


def _token_ranges(words: Sequence[str], offsets: Sequence[tuple[int, int]]) -> tuple[list[bool], list[int]]:
    """For each word whether it has tokens, and one past its last; one without tokens ends where the one before does."""
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
