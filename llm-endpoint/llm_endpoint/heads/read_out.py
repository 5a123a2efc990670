"""What the numbers of a head mean, by its task."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from llm_endpoint.heads.encoding import NO_TOKEN, Encoded
from llm_endpoint.heads.head import FALLBACK_THRESHOLD, OUTSIDE, Head
from llm_endpoint.heads.rows import Row

Numbers = npt.NDArray[Any]
Prediction = dict[str, Any]


def read_out(outputs: Sequence[Numbers], encoded: Encoded, rows: Sequence[Row], head: Head) -> list[Prediction]:
    """Predictions of a request, in the order of its rows.

    Args:
        outputs: Of each piece: shape (k,), or (tokens, k) for words, padding allowed behind.
        encoded: The pieces, and which rows were cut.
        rows: What was encoded.
        head: Of the model.
    """
    if head.task == "ner":
        predictions = _entities(_by_word(outputs, encoded, rows, head), rows, head)
    else:
        predictions = _READERS[head.task](np.stack(outputs).astype(np.float64), head)
    return [prediction | {"cut": cut} for prediction, cut in zip(predictions, encoded.cut, strict=True)]


def _single_label(outputs: Numbers, head: Head) -> list[Prediction]:
    probabilities = softmax(outputs)
    best = probabilities.argmax(axis=1).tolist()
    return [
        {"label": head.labels[place], "score": row[place], "probabilities": dict(zip(head.labels, row, strict=True))}
        for place, row in zip(best, probabilities.tolist(), strict=True)
    ]


def _multi_label(outputs: Numbers, head: Head) -> list[Prediction]:
    probabilities = sigmoid(outputs)
    over = probabilities >= np.asarray(head.thresholds or [FALLBACK_THRESHOLD] * head.outputs)
    return [
        {
            "labels": [label for label, hit in zip(head.labels, hits, strict=True) if hit],
            "probabilities": dict(zip(head.labels, row, strict=True)),
        }
        for hits, row in zip(over.tolist(), probabilities.tolist(), strict=True)
    ]


def _regression(outputs: Numbers, head: Head) -> list[Prediction]:
    assert head.scale is not None
    return [{"value": value * head.scale.std + head.scale.mean} for value in outputs[:, 0].tolist()]


_READERS: dict[str, Callable[[Numbers, Head], list[Prediction]]] = {
    "single_label": _single_label,
    "multi_label": _multi_label,
    "regression": _regression,
}


def _by_word(outputs: Sequence[Numbers], encoded: Encoded, rows: Sequence[Row], head: Head) -> list[Numbers]:
    """Outputs of each word; one without a token is outside of every entity."""
    nothing = np.full(head.outputs, -np.inf)
    nothing[0] = 0.0
    words = [np.tile(nothing, (len(row.words), 1)) for row in rows]
    for piece, values in zip(encoded.pieces, outputs, strict=True):
        for number, place in enumerate(piece.words, start=piece.first_word):
            if place != NO_TOKEN:
                words[piece.row][number] = values[place]
    return words


def _entities(outputs: Sequence[Numbers], rows: Sequence[Row], head: Head) -> list[Prediction]:
    predictions = []
    for values, row in zip(outputs, rows, strict=True):
        probabilities = softmax(values)
        best = probabilities.argmax(axis=1)
        sure = probabilities[range(len(best)), best]
        tags = _valid([head.labels[place] for place in best.tolist()])
        predictions.append({"tags": tags, "entities": [_entity(span, sure, row) for span in _spans(tags)]})
    return predictions


def _valid(tags: Sequence[str]) -> list[str]:
    """IOB2: an I- after O or after another type begins an entity."""
    fixed: list[str] = []
    for tag in tags:
        before = fixed[-1] if fixed else OUTSIDE
        fixed.append(f"B-{tag[2:]}" if tag.startswith("I-") and before[2:] != tag[2:] else tag)
    return fixed


def _spans(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Type, first word and one past the last word of each entity in valid tags."""
    spans: list[tuple[str, int, int]] = []
    for place, tag in enumerate(tags):
        if tag.startswith("B-"):
            spans.append((tag[2:], place, place + 1))
        elif tag != OUTSIDE:
            kind, first, _ = spans.pop()
            spans.append((kind, first, place + 1))
    return spans


def _entity(span: tuple[str, int, int], sure: Numbers, row: Row) -> dict[str, Any]:
    kind, first, last = span
    start, end = row.offsets[first][0], row.offsets[last - 1][1]
    return {
        "type": kind,
        "text": row.text[start:end],
        "start_token": first,
        "end_token": last,
        "start": start,
        "end": end,
        "score": float(sure[first:last].mean()),
    }


def softmax(outputs: Numbers) -> Numbers:
    """Probabilities over the last axis."""
    values = np.asarray(outputs, dtype=np.float64)
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def sigmoid(outputs: Numbers) -> Numbers:
    """Probability of each output on its own."""
    # the two halves of a formula that overflows on neither side
    values = np.asarray(outputs, dtype=np.float64)
    small = np.exp(-np.abs(values))
    return np.asarray(np.where(values >= 0, 1.0, small) / (1.0 + small))
