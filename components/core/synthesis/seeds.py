"""Which row each call starts from: rows that the local model answered badly, and reference rows."""

import hashlib
import json
import math
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from components.core.data.contract.near_copies import words_of
from components.core.errors import DataError
from components.core.synthesis.config import DataGenConfig
from components.core.synthesis.copies import CopyFilter
from components.core.synthesis.rows import BadRow, ChatRow, Comparing, Place, parse_row

Kind = Literal["failed", "like_failed", "reference"]
"""`like_failed`: the reference row nearest to a failed row of a test split, which itself is never shown."""
_SCORES = ("similarity_scores", "precision_scores")


@dataclass(frozen=True)
class Seed:
    """A row that new rows are made after."""

    row: ChatRow
    kind: Kind

    def facts(self) -> dict[str, Any]:
        """Where it comes from, as the journal and the provenance keep it."""
        place = self.row.place
        return {"dataset": place.dataset, "split": place.split, "row": place.row, "kind": self.kind}


class Seeds:
    """The seed of every call, decided by its number: a run that goes on uses the same ones."""

    def __init__(self, failed: Sequence[Seed], reference: Sequence[Seed], share: float, seed: int) -> None:
        self.failed, self.reference = list(failed), list(reference)
        # a seed may be 0, and the two orders must not be the same
        random.Random(f"failed {seed}").shuffle(self.failed)
        random.Random(f"reference {seed}").shuffle(self.reference)
        self._share = share if failed else 0.0

    def of_call(self, call: int) -> Seed:
        """The seed of a call, numbered from 0; failed rows are spread evenly among them."""
        before, after = int(call * self._share), int((call + 1) * self._share)
        if after > before:
            return self.failed[before % len(self.failed)]
        return self.reference[(call - before) % len(self.reference)]

    @property
    def fingerprint(self) -> str:
        """Of all seeds in their order: a journal is only valid for them."""
        content = json.dumps([[seed.kind, seed.row.messages] for seed in (*self.failed, *self.reference)])
        return hashlib.sha256(f"{self._share} {content}".encode()).hexdigest()


def choose_seeds(
    reference: Sequence[ChatRow], failed: Sequence[ChatRow], config: DataGenConfig, copies: CopyFilter
) -> Seeds:
    """Seeds that show no test row to the service LLM; where people wrote some of the rows, only those.

    Raises:
        DataError: If every reference row stands in a test split.
    """
    usable = [row for row, copy in zip(reference, copies.overlap(reference), strict=True) if copy is None]
    if not usable:
        raise DataError(
            f"every row of {config.reference_ds_id}:{config.reference_ds_split} also stands in a test split, so there "
            "is nothing to learn from. Name the training rows in reference_ds_split."
        )
    # after rows that a model wrote, each round would be further from what people ask
    usable = [row for row in usable if not row.generator] or usable
    overlaps = copies.overlap(failed)
    shown = [Seed(row, "failed") for row, copy in zip(failed, overlaps, strict=True) if copy is None]
    hidden = [row for row, copy in zip(failed, overlaps, strict=True) if copy is not None]
    near = [Seed(usable[number], "like_failed") for number in nearest(hidden, usable)]
    return Seeds(shown + near, [Seed(row, "reference") for row in usable], config.failed_share, config.seed)


def nearest(rows: Sequence[ChatRow], others: Sequence[ChatRow]) -> list[int]:
    """For each row the number of the most similar other one by its rare words (cosine of tf-idf); each named once."""
    if not rows:
        return []
    comparing = Comparing()
    others_words = [frozenset(words_of(comparing.key(row))) for row in others]
    having: dict[str, list[int]] = {}
    for number, words in enumerate(others_words):
        for word in words:
            having.setdefault(word, []).append(number)
    weights = {word: math.log((1 + len(others)) / len(numbers)) for word, numbers in having.items()}
    lengths = [math.sqrt(sum(weights[word] ** 2 for word in words)) for words in others_words]
    found: dict[int, None] = {}
    for row in rows:
        scores: dict[int, float] = defaultdict(float)
        for word in set(words_of(comparing.key(row))) & weights.keys():
            for number in having[word]:
                scores[number] += weights[word] ** 2 / lengths[number]
        if scores:
            found[min(scores, key=lambda number: (-scores[number], number))] = None
    return list(found)


def failed_rows(judged: Sequence[Mapping[str, Any]], config: DataGenConfig) -> list[ChatRow]:
    """One row for each instruction whose answers were judged too low on average.

    Args:
        judged: What evaluation.py wrote: `instructions`, `target_responses` and the two columns of scores.
        config: The thresholds and the dataset's name.

    Raises:
        DataError: If a column is missing, or nothing was judged.
    """
    dataset, split = config.failed_ds_id or "", config.failed_ds_split
    found: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
    for number, row in enumerate(judged, start=1):
        missing = [name for name in ("instructions", "target_responses", *_SCORES) if name not in row]
        if missing:
            raise DataError(
                f"{dataset}:{split}, row {number} has no {', '.join(missing)}. Name in failed_ds_id what evaluation.py "
                "wrote."
            )
        found.setdefault(str(row["instructions"]), []).append((number, row))
    low: list[ChatRow] = []
    judgements = 0
    for instruction, rows in found.items():
        means = [_mean([score for _, row in rows for score in _numbers(row[name])]) for name in _SCORES]
        judgements += any(mean is not None for mean in means)
        limits = (config.avg_similarity_threshold, config.avg_precision_threshold)
        if not any(mean is not None and mean < limit for mean, limit in zip(means, limits, strict=True)):
            continue
        number, first = rows[0]
        messages = [
            {"role": "user", "content": instruction},
            {"role": "assistant", "content": first["target_responses"]},
        ]
        parsed = parse_row({"messages": messages, "category": first.get("category")}, Place(dataset, split, number))
        if not isinstance(parsed, BadRow):
            low.append(parsed)
    if not judgements:
        raise DataError(f"{dataset}:{split} holds no score, so no row is known to have failed. Judge it first.")
    return low


def _numbers(value: Any) -> list[float]:
    """The scores in a cell: a number, several, or none where a judgement failed."""
    values = value if isinstance(value, list) else [value]
    return [float(each) for each in values if isinstance(each, int | float) and not isinstance(each, bool)
            and each == each]  # fmt: skip


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
