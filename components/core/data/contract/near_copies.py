"""Near copies between two sets of rows: MinHash to find candidates in bounded memory, exact comparison to decide.

Two rows are near copies when the word 5-grams of what they ask (`Task.row_key`) have a Jaccard similarity of at least
the threshold AND the sets of words in its last line (the question, without the context) have one too. The second
condition is there because in SQuAD-like data many questions stand on one long context: by the 5-grams alone two
different questions on it would pass for copies.
"""

import re
from collections.abc import Iterator, Sequence, Set
from typing import Any
from zlib import crc32

import numpy as np

SHINGLE_WORDS = 5
CANDIDATES_PER_ROW = 50
"""Rows compared exactly for one row, those with the most matching bands first."""
_BANDS = 20
_KEY_HASHES = 3
_QUESTION_HASHES = 1
"""Bands of 3 + 1 hashes: of pairs at 0.9 / 0.9 fewer than one in a billion is missed, at 0.6 / 0.6 it is 6 %."""
_WORD = re.compile(r"\w+")
_BATCH_WORDS = 200_000
_U64 = np.uint64

Hashes = np.ndarray[Any, np.dtype[np.uint64]]


def words_of(text: str) -> list[str]:
    """Words without case and punctuation; of a text without any (emoji, say), what white space parts."""
    folded = text.casefold()
    return _WORD.findall(folded) or folded.split()


def asked_words(text: str) -> frozenset[str]:
    """The words of the last line: what is asked, without the context."""
    return frozenset(words_of(text.rpartition("\n")[2]))


def similarity(one: str, other: str, shingle_words: int = SHINGLE_WORDS) -> float:
    """The smaller of the two similarities: of words in the last line, of word n-grams in the whole."""
    asked = jaccard(asked_words(one), asked_words(other))
    return min(asked, jaccard(_shingles(one, shingle_words), _shingles(other, shingle_words)))


def jaccard(one: Set[Any], other: Set[Any]) -> float:
    """Shared members over all members; 1 for two empty sets."""
    return len(one & other) / len(one | other) if one or other else 1.0


class NearCopies:
    """Finds, for a row, the rows of a fixed set that it nearly copies."""

    def __init__(self, seed: int = 0, shingle_words: int = SHINGLE_WORDS) -> None:
        self._shingle_words = shingle_words
        rng = np.random.default_rng(seed)
        hashes = _BANDS * (_KEY_HASHES + _QUESTION_HASHES)
        self._multiply = rng.integers(1, 2**63, size=hashes, dtype=_U64) * _U64(2) + _U64(1)
        self._add = rng.integers(0, 2**63, size=hashes, dtype=_U64)
        self._parts: list[Hashes] = []
        self._keys: list[Hashes] = []
        self._rows: list[np.ndarray[Any, Any]] = []

    def build(self, texts: Iterator[str]) -> None:
        """Index the fixed set; a row's number is its position in it."""
        for batch in _batches(texts):
            self._parts.append(self.bands(batch))
        bands = np.concatenate(self._parts) if self._parts else np.empty((0, _BANDS), _U64)
        self._parts = []
        for band in range(_BANDS):
            order = np.argsort(bands[:, band], kind="stable")
            self._keys.append(bands[order, band])
            self._rows.append(order.astype(np.uint32))

    def candidates(self, texts: Iterator[str]) -> Iterator[tuple[str, Sequence[int]]]:
        """Each text with the numbers of indexed rows that may be near copies of it, the likeliest first."""
        for batch in _batches(texts):
            bands = self.bands(batch)
            low = np.stack([np.searchsorted(self._keys[b], bands[:, b], "left") for b in range(_BANDS)])
            high = np.stack([np.searchsorted(self._keys[b], bands[:, b], "right") for b in range(_BANDS)])
            hit = np.any(high > low, axis=0)
            for number, text in enumerate(batch):
                yield text, self._rank(low[:, number], high[:, number]) if hit[number] else ()

    def _rank(self, low: "np.ndarray[Any, Any]", high: "np.ndarray[Any, Any]") -> list[int]:
        # a bucket is cut, too: boilerplate rows could share one by the hundred thousand
        found = [self._rows[b][low[b] : min(high[b], low[b] + 20 * CANDIDATES_PER_ROW)] for b in range(_BANDS)]
        rows, counts = np.unique(np.concatenate(found), return_counts=True)
        best = np.argsort(-counts, kind="stable")[:CANDIDATES_PER_ROW]
        return [int(row) for row in rows[best]]

    def bands(self, texts: Sequence[str]) -> Hashes:
        """Band keys of a batch, shape (rows, bands)."""
        words = [_word_hashes(text) for text in texts]
        asked = [_word_hashes(text.rpartition("\n")[2]) for text in texts]
        split = _BANDS * _KEY_HASHES
        key_hashes = self._minimum(_shingle_batch(words, self._shingle_words), slice(0, split))
        asked_hashes = self._minimum(_join(asked), slice(split, None))
        with np.errstate(over="ignore"):
            keys = asked_hashes.reshape(len(texts), _BANDS, _QUESTION_HASHES)[:, :, 0]
            for hashes in np.moveaxis(key_hashes.reshape(len(texts), _BANDS, _KEY_HASHES), 2, 0):
                keys = _mix(keys * _U64(31) + hashes)
        return np.asarray(keys)

    def _minimum(self, batch: tuple[Hashes, "np.ndarray[Any, Any]"], which: slice) -> Hashes:
        """Minimum over each row of each hash function, shape (rows, functions)."""
        values, starts = batch
        signature = np.empty((len(starts), len(self._multiply[which])), dtype=_U64)
        with np.errstate(over="ignore"):
            for column, (multiply, add) in enumerate(zip(self._multiply[which], self._add[which], strict=True)):
                # the upper half of a product is the well-mixed one
                signature[:, column] = np.minimum.reduceat((values * multiply + add) >> _U64(24), starts)
        return signature


def _word_hashes(text: str) -> Hashes:
    hashes = [crc32(word.encode()) for word in words_of(text)]
    return np.array(hashes or [0], dtype=_U64)


def _join(rows: Sequence[Hashes]) -> tuple[Hashes, "np.ndarray[Any, Any]"]:
    """One array of all values, mixed, and where each row starts."""
    lengths = np.array([len(row) for row in rows])
    with np.errstate(over="ignore"):
        return _mix(np.concatenate(rows)), np.concatenate(([0], np.cumsum(lengths)[:-1]))


def _shingle_batch(rows: Sequence[Hashes], most_words: int) -> tuple[Hashes, "np.ndarray[Any, Any]"]:
    """Hashes of the word n-grams of all rows; a row of fewer words is one shingle."""
    shingles = []
    with np.errstate(over="ignore"):
        for row in rows:
            size = min(most_words, len(row))
            count = len(row) - size + 1
            total = np.zeros(count, dtype=_U64)
            for offset in range(size):
                total = total * _U64(0x100000001B3) + row[offset : offset + count]
            shingles.append(total)
    return _join(shingles)


def _mix(values: Hashes) -> Hashes:
    """Spread the bits of each value over all 64."""
    values = (values ^ (values >> _U64(30))) * _U64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> _U64(27))) * _U64(0x94D049BB133111EB)
    return np.asarray(values ^ (values >> _U64(31)))


def _batches(texts: Iterator[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text) // 6 + 1
        if size >= _BATCH_WORDS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _shingles(text: str, most_words: int) -> set[tuple[str, ...]]:
    words = words_of(text)
    size = min(most_words, len(words))
    return {tuple(words[start : start + size]) for start in range(len(words) - size + 1)}
