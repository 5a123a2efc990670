"""Copies and near copies in a set that grows: MinHash finds candidates, an exact comparison decides."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from components.core.data.contract.near_copies import CANDIDATES_PER_ROW, NearCopies, similarity
from components.core.data.contract.spool import hash64
from components.core.synthesis.rows import ChatRow, Comparing, Place

SHINGLE_WORDS = 2
"""Prompts are mostly one sentence: by groups of five words, one changed word would hide a copy."""
_BATCH_ROWS = 1000
"""Hashed together: each by itself would cost far more."""

Reason = Literal["duplicate", "same_prompt", "too_similar", "test_overlap"]


@dataclass(frozen=True)
class Copy:
    """Why a row is not taken."""

    reason: Reason
    of: Place
    similarity: float

    def __str__(self) -> str:
        what = {
            "duplicate": "asks and answers the same as",
            "same_prompt": "asks the same as",
            "too_similar": f"near copy ({self.similarity:.2f}) of",
            "test_overlap": f"copy ({self.similarity:.2f}) of the test row",
        }[self.reason]
        return f"{what} {self.of}"


class _Index:
    """Texts by their band keys, with the place of the row that each belongs to."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._buckets: dict[int, list[int]] = {}
        self._texts: list[str] = []
        self._places: list[Place] = []

    def add(self, text: str, keys: Sequence[int], place: Place) -> None:
        number = len(self._texts)
        self._texts.append(text)
        self._places.append(place)
        for key in keys:
            self._buckets.setdefault(key, []).append(number)

    def find(self, text: str, keys: Sequence[int]) -> tuple[Place, float] | None:
        """A known text that this one nearly copies, with the similarity."""
        hits: dict[int, int] = {}
        for key in keys:
            # a bucket is cut: boilerplate rows could share one by the hundred thousand
            for number in self._buckets.get(key, ())[: 20 * CANDIDATES_PER_ROW]:
                hits[number] = hits.get(number, 0) + 1
        for number in sorted(hits, key=lambda each: (-hits[each], each))[:CANDIDATES_PER_ROW]:
            score = similarity(text, self._texts[number], SHINGLE_WORDS)
            if score >= self._threshold:
                return self._places[number], score
        return None


@dataclass(frozen=True)
class _Asked:
    """What is compared of a row: the whole first, then its user messages; each with its band keys."""

    row: ChatRow
    texts: list[tuple[str, list[int]]]


class CopyFilter:
    """Says of each row whether it copies a test row, or a row that was taken before."""

    def __init__(self, threshold: float, comparing: Comparing) -> None:
        self._comparing = comparing
        self._hashes = NearCopies(shingle_words=SHINGLE_WORDS)
        self._known, self._tests = _Index(threshold), _Index(threshold)
        self._by_key: dict[int, tuple[int, Place]] = {}
        self._test_keys: dict[int, Place] = {}

    def hold_out(self, rows: Sequence[ChatRow]) -> None:
        """Test rows, which no row may repeat."""
        for asked in self._read(rows):
            for text, keys in asked.texts:
                self._test_keys.setdefault(hash64(text), asked.row.place)
                self._tests.add(text, keys, asked.row.place)

    def know(self, rows: Sequence[ChatRow]) -> None:
        """Rows that are there already; they are not judged themselves."""
        for asked in self._read(rows):
            self._add(asked)

    def overlap(self, rows: Sequence[ChatRow]) -> list[Copy | None]:
        """For each row the test row that it repeats."""
        return [self._overlap(asked) for asked in self._read(rows)]

    def judge(self, rows: Sequence[ChatRow]) -> list[Copy | None]:
        """For each row why it is not taken, or None; what is taken is known to the rows after it."""
        found: list[Copy | None] = []
        for asked in self._read(rows):
            copy = self._overlap(asked) or self._copy(asked)
            if copy is None:
                self._add(asked)
            found.append(copy)
        return found

    def _read(self, rows: Sequence[ChatRow]) -> Iterator[_Asked]:
        for start in range(0, len(rows), _BATCH_ROWS):
            batch = rows[start : start + _BATCH_ROWS]
            texts = [self._comparing.asked(row) for row in batch]
            bands: Any = self._hashes.bands([text for row in texts for text in row])
            # the low bits say which band, so that one table holds them all
            keys = iter([[key * 32 + band for band, key in enumerate(line)] for line in bands.tolist()])
            for row, asked in zip(batch, texts, strict=True):
                yield _Asked(row, [(text, next(keys)) for text in asked])

    def _overlap(self, asked: _Asked) -> Copy | None:
        for text, keys in asked.texts:
            place = self._test_keys.get(hash64(text))
            if place is not None:
                return Copy("test_overlap", place, 1.0)
            near = self._tests.find(text, keys)
            if near is not None:
                return Copy("test_overlap", *near)
        return None

    def _copy(self, asked: _Asked) -> Copy | None:
        text, keys = asked.texts[0]
        same = self._by_key.get(hash64(text))
        if same is not None:
            answer, place = same
            return Copy("duplicate" if answer == self._answer(asked.row) else "same_prompt", place, 1.0)
        near = self._known.find(text, keys)
        return None if near is None else Copy("too_similar", *near)

    def _add(self, asked: _Asked) -> None:
        text, keys = asked.texts[0]
        self._by_key.setdefault(hash64(text), (self._answer(asked.row), asked.row.place))
        self._known.add(text, keys, asked.row.place)

    def _answer(self, row: ChatRow) -> int:
        return hash64(self._comparing.answer(row))
