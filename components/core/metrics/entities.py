"""Metrics of named entities, equal to seqeval's on IOB2 tags, and spans with their places in the text.

An entity is right when its type and both its ends are. As in seqeval's default mode (and conlleval), an I- tag that
continues nothing begins an entity. Precision, recall and F1 without a denominator count 0.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from components.core.errors import DataError
from components.core.metrics.labels import NO_ROWS, Hits, LabelScore, Values, undefined

ENTITY_METRICS = ("precision", "recall", "f1", "f1_macro", "accuracy")
ROW_METRICS = ("f1", "exact_match")
OUTSIDE = "O"


@dataclass(frozen=True, order=True)
class Span:
    """An entity over the tokens `start` to `end`, the last not included."""

    start: int
    end: int
    type: str

    def overlap(self, other: "Span") -> int:
        """Tokens in common."""
        return max(0, min(self.end, other.end) - max(self.start, other.start))


@dataclass(frozen=True)
class Entity:
    """An entity with its place in tokens and in characters of the text, the ends not included."""

    type: str
    text: str
    start_token: int
    end_token: int
    start: int
    end: int


@dataclass
class EntityErrors:
    """What went wrong with the entities of one type."""

    missed: int = 0
    """References that no prediction answers."""
    spurious: int = 0
    """Predictions that answer no reference."""
    wrong_type: int = 0
    """References of this type whose ends were found, under another type."""
    wrong_boundary: int = 0
    """References that overlap a prediction of their type with other ends."""


@dataclass(frozen=True)
class EntityScores:
    """All that is measured on one set of predictions."""

    values: Values
    """Metric by name: micro precision, recall and F1, macro F1 over the types, and accuracy of the tags."""
    undefined: dict[str, str]
    """Why a metric is None."""
    types: list[LabelScore]
    errors: dict[str, EntityErrors] = field(default_factory=dict)
    """By type, those without an error included."""

    def total_errors(self) -> EntityErrors:
        """The errors of all types together."""
        counts: Counter[str] = Counter()
        for each in self.errors.values():
            counts.update(asdict(each))
        return EntityErrors(**counts)


def entity_spans(tags: Sequence[str]) -> list[Span]:
    """Entities in IOB2 tags (`O`, `B-TYPE`, `I-TYPE`), in order."""
    spans: list[Span] = []
    for place, tag in enumerate(tags):
        prefix, _, kind = tag.partition("-")
        if prefix == OUTSIDE:
            continue
        last = spans[-1] if spans else None
        if prefix == "I" and last is not None and last.end == place and last.type == kind:
            spans[-1] = Span(last.start, place + 1, kind)
        else:
            spans.append(Span(place, place + 1, kind))
    return spans


def locate_entities(
    tokens: Sequence[str],
    tags: Sequence[str],
    text: str | None = None,
    offsets: Sequence[tuple[int, int]] | None = None,
) -> list[Entity]:
    """Entities of one row with their places.

    Args:
        tokens: Words of the row, length n.
        tags: IOB2 tag of each word, length n.
        text: The text that the words were cut from; None joins them with single spaces.
        offsets: First and last-plus-one character of each word in `text`; needed with a text.
    """
    joined = " ".join(tokens) if text is None else text
    places = list(offsets) if offsets is not None else _joined_offsets(tokens)
    entities = []
    for span in entity_spans(tags):
        start, end = places[span.start][0], places[span.end - 1][1]
        entities.append(Entity(span.type, joined[start:end], span.start, span.end, start, end))
    return entities


def score_entities(references: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]) -> EntityScores:
    """Measure predicted IOB2 tags.

    Args:
        references: Right tags of each row.
        predictions: Predicted tags of each row, one for each token.

    Raises:
        DataError: If a row has another number of predicted tags than of tokens.
    """
    pairs = _pairs(references, predictions)
    types = sorted({span.type for pair in pairs for spans in pair for span in spans})
    counts = [Counter(span.type for each in group for span in each) for group in _groups(pairs)]
    hits = Hits(*(np.asarray([count[kind] for kind in types], dtype=np.int64) for count in counts))
    errors = _errors(pairs, types)
    tokens = sum(map(len, references))
    if not tokens:
        return EntityScores(*undefined(ENTITY_METRICS, NO_ROWS), hits.table(types), errors)
    precision, recall, f1 = (float(score[0]) for score in hits.total().scores())
    table = hits.table(types)
    same = sum(a == b for row in zip(references, predictions, strict=True) for a, b in zip(*row, strict=True))
    macro = sum(each.f1 for each in table) / len(table) if table else 0.0
    numbers = (precision, recall, f1, macro, same / tokens)
    return EntityScores(dict(zip(ENTITY_METRICS, numbers, strict=True)), {}, table, errors)


def score_entity_rows(
    references: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]
) -> list[dict[str, float]]:
    """Scores of each row for the paired bootstrap: F1 of its entities (1 where both sides have none), and exact match.

    Raises:
        DataError: If a row has another number of predicted tags than of tokens.
    """
    rows = []
    for wanted, found in _pairs(references, predictions):
        size = len(wanted) + len(found)
        score = 2 * len(set(wanted) & set(found)) / size if size else 1.0
        rows.append({"f1": score, "exact_match": float(wanted == found)})
    return rows


def _pairs(
    references: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]
) -> list[tuple[list[Span], list[Span]]]:
    for number, (wanted, found) in enumerate(zip(references, predictions, strict=True), start=1):
        if len(wanted) != len(found):
            raise DataError(
                f"row {number} has {len(wanted)} tokens but {len(found)} predicted tags. Predict one tag for each."
            )
    return [(entity_spans(wanted), entity_spans(found)) for wanted, found in zip(references, predictions, strict=True)]


def _groups(pairs: Sequence[tuple[list[Span], list[Span]]]) -> list[list[set[Span]]]:
    """Spans of each row that are right, wanted and found."""
    return [
        [set(wanted) & set(found) for wanted, found in pairs],
        [set(wanted) for wanted, _ in pairs],
        [set(found) for _, found in pairs],
    ]


def _errors(pairs: Sequence[tuple[list[Span], list[Span]]], types: Sequence[str]) -> dict[str, EntityErrors]:
    errors = {kind: EntityErrors() for kind in types}
    for wanted, found in pairs:
        missing, surplus = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
        for span in _take_pairs(missing, surplus, lambda one, other: (one.start, one.end) == (other.start, other.end)):
            errors[span.type].wrong_type += 1
        for span in _take_pairs(missing, surplus, lambda one, other: one.type == other.type):
            errors[span.type].wrong_boundary += 1
        for span in missing:
            errors[span.type].missed += 1
        for span in surplus:
            errors[span.type].spurious += 1
    return errors


def _take_pairs(missing: list[Span], surplus: list[Span], alike: Callable[[Span, Span], bool]) -> list[Span]:
    """Take out each missing span together with the overlapping surplus span that stands for it."""
    taken = []
    for span in list(missing):
        partners = [other for other in surplus if span.overlap(other) and alike(span, other)]
        if partners:
            surplus.remove(max(partners, key=span.overlap))
            missing.remove(span)
            taken.append(span)
    return taken


def _joined_offsets(tokens: Sequence[str]) -> list[tuple[int, int]]:
    places, start = [], 0
    for token in tokens:
        places.append((start, start + len(token)))
        start += len(token) + 1
    return places
