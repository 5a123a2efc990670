"""From texts, pairs and words to token ids, the same at training, inference and serving.

Text is data: a control token's name inside it ("[SEP]", "</s>") is read as plain characters.
"""

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
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the tokenizers library raises bare Exceptions
            raise StorageError(
                f"cannot load {folder / 'tokenizer.json'}: {error}. Choose a model that comes with one."
            ) from error
        self._head = head
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._tokenizer.encode_special_tokens = True
        around = self._tokenizer.encode("a")
        inner = [place for place, special in enumerate(around.special_tokens_mask) if not special] or [0]
        self._before, self._after = around.ids[: inner[0]], around.ids[inner[-1] + 1 :]
        self._room = head.max_seq_length - len(self._before) - len(self._after)
        if self._room < 1:
            raise ConfigError(
                f"max_seq_length={head.max_seq_length}: leaves no room beside "
                f"{len(self._before) + len(self._after)} special tokens. Raise it."
            )

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
        self._tokenizer.enable_truncation(self._head.max_seq_length, strategy="longest_first")
        try:
            encodings = self._tokenizer.encode_batch_fast(inputs)
        except Exception as error:  # a pair whose special tokens alone are too many
            raise ConfigError(
                f"max_seq_length={self._head.max_seq_length}: cannot hold a pair ({error}). Raise it."
            ) from error
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
        encodings = self._tokenizer.encode_batch([" ".join(words) for words in rows], add_special_tokens=False)
        pieces, cut = [], []
        for row, (words, encoding) in enumerate(zip(rows, encodings, strict=True)):
            found, lost = self._part(row, encoding.ids, *_token_ranges(words, encoding.offsets))
            pieces += found
            cut.append(lost)
        return EncodedInputs(pieces, cut)

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
