"""The contract of rows with words and tags."""

import re

import pytest

from components.core.recipe import TaskConfig
from components.core.tasks import get_task
from components.core.tasks.ner import repair_tags, tag_labels

TASK = get_task(TaskConfig(name="ner"))
GOOD = {"tokens": ["in", "New", "York"], "ner_tags": ["O", "B-LOC", "I-LOC"]}


def parse(**changes):
    row, findings = TASK.parse_row(GOOD | changes)
    return row, [finding.kind for finding in findings]


def test_a_good_row_is_given_back_as_it_is():
    assert parse() == (GOOD, [])
    assert parse(id="a", other=1) == ({"id": "a"} | GOOD, [])


def test_lists_may_be_written_as_text():
    assert parse(tokens='["in", "New", "York"]', ner_tags="['O', 'B-LOC', 'I-LOC']") == (GOOD, [])


@pytest.mark.parametrize(
    ("tags", "fixed", "changed"),
    [
        ("O I-LOC I-LOC", "O B-LOC I-LOC", 1),
        ("B-PER I-ORG I-ORG", "B-PER B-ORG I-ORG", 1),
        ("I-PER B-PER I-PER O I-PER", "B-PER B-PER I-PER O B-PER", 2),
        ("B-LOC I-LOC O B-LOC B-LOC", "B-LOC I-LOC O B-LOC B-LOC", 0),
        ("B-a-b I-a-b I-b", "B-a-b I-a-b B-b", 1),
    ],
)
def test_an_inside_tag_that_begins_an_entity_becomes_its_begin(tags, fixed, changed):
    assert repair_tags(tags.split()) == (fixed.split(), changed)


def test_a_repair_is_remarked():
    row, kinds = parse(ner_tags=["O", "I-LOC", "I-LOC"])
    assert (row, kinds) == (GOOD, ["inside_without_begin"])


def test_blank_tokens_go_with_their_tags_and_the_rest_stays_aligned():
    row, kinds = parse(tokens=["in", "\u00a0 ", "New", "", "York"], ner_tags=["O", "B-LOC", "I-LOC", "I-LOC", "I-LOC"])
    assert (row, kinds) == (GOOD, ["blank_token", "inside_without_begin"])


def test_a_token_with_a_space_or_without_letters_is_kept():
    row, kinds = parse(tokens=["in", "New York", "\ufe0e"])
    assert (row["tokens"], kinds) == (["in", "New York", "\ufe0e"], [])


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"ner_tags": ["O"]}, "wrong_length", "3 tokens but 1 tags"),
        ({"tokens": [], "ner_tags": []}, "no_tokens", "the list is empty"),
        ({"tokens": [" "], "ner_tags": ["O"]}, "no_tokens", "none but blank"),
        ({"tokens": "in New York"}, "wrong_type", "tokens: expected a list of words, found other text"),
        ({"tokens": ["in", 7, "York"]}, "wrong_type", r"tokens\[1\]: expected text, found a number"),
        ({"ner_tags": [0, 1, 2]}, "tag_ids", "numbers, and nothing says which tags"),
        ({"ner_tags": ["O", 1, "O"]}, "wrong_type", r"ner_tags\[1\]: expected a tag"),
        ({"ner_tags": ["O", "S-LOC", "O"]}, "unknown_tag", r"ner_tags\[1\]: 'S-LOC' is not O, B-<type>"),
        ({"ner_tags": ["O", "LOC", "O"]}, "unknown_tag", "bare types"),
        ({"ner_tags": ["O", "B-", "O"]}, "unknown_tag", "B-"),
        ({"ner_tags": ["O", "b-LOC", "O"]}, "unknown_tag", "b-LOC"),
        ({"ner_tags": ["O", None, "O"]}, "wrong_type", "found None"),
        ({"ner_tags": None}, "missing_field", "expected a list of tags, found null"),
        ({"tokens": ["a", "\ud800", "b"]}, "not_unicode", "surrogate"),
    ],
)
def test_an_unusable_row_is_refused_with_field_and_reason(changes, kind, message):
    row, findings = TASK.parse_row(GOOD | changes)
    assert row is None
    assert findings[0].kind == kind
    assert re.search(message, findings[0].message)


def test_each_entity_is_counted_once():
    assert TASK.row_target({"ner_tags": ["B-A", "I-A", "B-A", "O", "B-B"]}) == ["A", "A", "B"]


def test_the_tags_of_the_model_are_outside_and_a_pair_for_each_type():
    assert tag_labels(["LOC", "PER"]) == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
