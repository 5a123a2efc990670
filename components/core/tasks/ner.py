"""The task `ner`: entities in a text, as one IOB2 tag (O, B-<type>, I-<type>) for each of its words."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from components.core.metrics.entities import (
    ROW_METRICS,
    EntityScores,
    locate_entities,
    score_entities,
    score_entity_rows,
)
from components.core.tasks.fields import BadFieldError, Parser, check_text, parse_fields, parse_id, parse_list
from components.core.tasks.heads.encoding import NO_TOKEN, EncodedInputs, InputEncoder, Piece
from components.core.tasks.heads.head import Head
from components.core.tasks.heads.seam import HeadKind, Outputs, Prediction, softmax
from components.core.tasks.labels import canonical_label
from components.core.tasks.rendering import IGNORED_LABEL
from components.core.tasks.seam import Finding, Row, Target, TargetKind

OUTSIDE = "O"
_TAG = re.compile(r"([BI])-(.+)")
_FIELDS: dict[str, Parser] = {"id": parse_id}


class NamedEntities:
    """Named entity recognition on texts that are already parted into words."""

    name = "ner"
    columns: Sequence[str] = ("tokens", "ner_tags")
    optional_columns: Sequence[str] = ("id",)
    text_columns: Sequence[str] = ("tokens",)
    target_kind: TargetKind = "entities"
    input_columns: Sequence[str] = ("tokens",)
    head_kind: HeadKind = "token"
    problem_type: str | None = None
    row_metrics: Sequence[str] = ROW_METRICS

    def parse_row(self, raw: Mapping[str, Any]) -> tuple[Row | None, list[Finding]]:
        """Check one raw row; an error among the findings means that there is no row."""
        row, findings = parse_fields(raw, _FIELDS | {"tokens": _parse_tokens, "ner_tags": _parse_tags})
        if row is None:
            return None, findings
        tokens, tags = row["tokens"], row["ner_tags"]
        if len(tokens) != len(tags):
            message = f"{len(tokens)} tokens but {len(tags)} tags; give one tag per token"
            return None, [Finding("wrong_length", "error", message), *findings]
        kept = [(token, tag) for token, tag in zip(tokens, tags, strict=True) if token.strip()]
        if not kept:
            return None, [Finding("no_tokens", "error", "tokens: there are none but blank ones"), *findings]
        if len(kept) < len(tokens):
            message = f"tokens: {len(tokens) - len(kept)} blank ones were left out, with their tags"
            findings.append(Finding("blank_token", "warning", message))
        fixed, repaired = repair_tags([tag for _, tag in kept])
        if repaired:
            message = f"ner_tags: {repaired} I- tags that begin an entity were turned into B-"
            findings.append(Finding("inside_without_begin", "warning", message))
        return row | {"tokens": [token for token, _ in kept], "ner_tags": fixed}, findings

    def row_key(self, row: Row) -> str:
        """The words, without differences in case."""
        return " ".join(" ".join(row["tokens"]).casefold().split())

    def row_answer(self, row: Row) -> str:
        """The tags."""
        return "\n".join(row["ner_tags"])

    def row_target(self, row: Row) -> Target:
        """The type of each entity, once for each that begins."""
        return [tag[2:] for tag in row["ner_tags"] if tag.startswith("B-")]

    def parse_input(self, raw: Mapping[str, Any]) -> tuple[Row | None, list[Finding]]:
        """Check the words of one raw row; blank ones stay, so that there is a tag for each."""
        return parse_fields(raw, _FIELDS | {"tokens": _parse_tokens})

    def encode(self, rows: Sequence[Row], encoder: InputEncoder) -> EncodedInputs:
        """Token ids of the words; a long row becomes several pieces."""
        return encoder.encode_words([row["tokens"] for row in rows])

    def learned(self, row: Row, piece: Piece, head: Head) -> list[int]:
        """Number of each word's tag at its last token; the other tokens carry no loss."""
        numbers = [IGNORED_LABEL] * len(piece.input_ids)
        for word, place in enumerate(piece.words, start=piece.first_word):
            if place != NO_TOKEN:
                numbers[place] = head.labels.index(row["ner_tags"][word])
        return numbers

    def read_out(self, outputs: Sequence[Outputs], rows: Sequence[Row], head: Head) -> list[Prediction]:
        """A tag for each word in valid IOB2, and the entities with their places in the words joined by spaces.

        `score` of an entity is the mean probability of its words' tags.
        """
        predictions = []
        for values, row in zip(outputs, rows, strict=True):
            probabilities = softmax(values)
            best = probabilities.argmax(axis=1)
            tags, _ = repair_tags([head.labels[place] for place in best.tolist()])
            sure = probabilities[range(len(best)), best]
            entities = [
                asdict(entity) | {"score": float(sure[entity.start_token : entity.end_token].mean())}
                for entity in locate_entities(row["tokens"], tags)
            ]
            predictions.append({"tags": tags, "entities": entities})
        return predictions

    def line(self, prediction: Prediction) -> str:
        """The tags, as a JSON list."""
        return json.dumps(prediction["tags"], ensure_ascii=False)

    def score(self, rows: Sequence[Row], predictions: Sequence[Prediction], head: Head) -> EntityScores:
        """All metrics."""
        return score_entities([row["ner_tags"] for row in rows], [each["tags"] for each in predictions])

    def score_rows(self, rows: Sequence[Row], predictions: Sequence[Prediction]) -> list[dict[str, float]]:
        """F1 of the row's entities, and whether all of them are right."""
        return score_entity_rows([row["ner_tags"] for row in rows], [each["tags"] for each in predictions])


def repair_tags(tags: Sequence[str]) -> tuple[list[str], int]:
    """Turn IOB1 and broken IOB2 into IOB2: an I- after O or after another type begins an entity.

    Returns:
        The tags, and how many of them were changed.
    """
    fixed: list[str] = []
    for tag in tags:
        before = fixed[-1] if fixed else OUTSIDE
        begins = tag.startswith("I-") and before[2:] != tag[2:]
        fixed.append(f"B-{tag[2:]}" if begins else tag)
    return fixed, sum(one != other for one, other in zip(tags, fixed, strict=True))


def tag_labels(types: Sequence[str]) -> list[str]:
    """All tags for sorted entity types, in the order of their numbers in the model."""
    return [OUTSIDE, *(f"{prefix}-{name}" for name in types for prefix in "BI")]


def _parse_tokens(raw: Mapping[str, Any], field: str, findings: list[Finding]) -> list[str]:
    values = parse_list(raw, field, "a list of words")
    if not values:
        raise BadFieldError("no_tokens", f"{field}: the list is empty")
    return [check_text(value, f"{field}[{number}]") for number, value in enumerate(values)]


def _parse_tags(raw: Mapping[str, Any], field: str, findings: list[Finding]) -> list[str]:
    values = parse_list(raw, field, "a list of tags")
    if values and all(isinstance(value, int) for value in values):
        raise BadFieldError(
            "tag_ids",
            f"{field}: numbers, and nothing says which tags they stand for; write O, B-<type>, I-<type>, or give a "
            "Parquet file or Hub dataset that names its classes",
        )
    return [_parse_tag(value, f"{field}[{number}]", findings) for number, value in enumerate(values)]


def _parse_tag(value: Any, field: str, findings: list[Finding]) -> str:
    if not isinstance(value, str):
        raise BadFieldError("wrong_type", f"{field}: expected a tag (O, B-<type>, I-<type>), found {value!r:.40}")
    tag = canonical_label(value, field, findings)
    if tag != OUTSIDE and not _TAG.fullmatch(tag):
        raise BadFieldError(
            "unknown_tag",
            f"{field}: {ascii(tag[:40])} is not O, B-<type> or I-<type>; convert other schemes (BILOU, IOBES, bare "
            "types) to these",
        )
    return tag
