"""Entity metrics, held against seqeval."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.core.errors import DataError
from components.core.metrics.entities import (
    ENTITY_METRICS,
    Entity,
    EntityErrors,
    Span,
    entity_spans,
    locate_entities,
    score_entities,
    score_entity_rows,
)

TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-work-of-art", "I-work-of-art"]
row = st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), min_size=1, max_size=12)


def split(rows):
    return [[tag for tag, _ in pairs] for pairs in rows], [[tag for _, tag in pairs] for pairs in rows]


@given(st.lists(st.sampled_from(TAGS), max_size=15))
def test_spans_are_those_of_seqeval_for_any_order_of_tags(tags):
    from seqeval.metrics.sequence_labeling import get_entities

    assert [(span.type, span.start, span.end - 1) for span in entity_spans(tags)] == get_entities(tags)


@given(st.lists(row, min_size=1, max_size=6))
@settings(deadline=None, max_examples=20)
def test_every_metric_equals_seqeval(rows):
    from seqeval import metrics
    from seqeval.metrics.sequence_labeling import precision_recall_fscore_support

    wanted, found = split(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            "precision": metrics.precision_score(wanted, found, zero_division=0),
            "recall": metrics.recall_score(wanted, found, zero_division=0),
            "f1": metrics.f1_score(wanted, found, zero_division=0),
            "accuracy": metrics.accuracy_score(wanted, found),
        }
        scores = score_entities(wanted, found)
        assert {name: scores.values[name] for name in expected} == pytest.approx(expected)
        if scores.types:
            assert scores.values["f1_macro"] == pytest.approx(
                metrics.f1_score(wanted, found, average="macro", zero_division=0)
            )
            by_type = precision_recall_fscore_support(wanted, found, average=None, zero_division=0)
            table = [(each.precision, each.recall, each.f1, each.support) for each in scores.types]
            np.testing.assert_allclose(table, np.transpose(by_type))


@given(st.lists(row, min_size=1, max_size=6))
def test_every_entity_is_right_or_has_exactly_one_error(rows):
    wanted, found = split(rows)
    scores = score_entities(wanted, found)
    right = sum(round(each.recall * each.support) for each in scores.types)
    errors = scores.total_errors()
    explained = errors.wrong_type + errors.wrong_boundary
    assert sum(each.support for each in scores.types) == right + explained + errors.missed
    assert sum(each.predicted for each in scores.types) == right + explained + errors.spurious


@pytest.mark.parametrize(
    ("wanted", "found", "kind", "errors"),
    [
        ("B-PER I-PER O", "O O O", "PER", EntityErrors(missed=1)),
        ("O O O", "B-PER O O", "PER", EntityErrors(spurious=1)),
        ("B-PER I-PER O", "B-LOC I-LOC O", "PER", EntityErrors(wrong_type=1)),
        ("B-PER I-PER O", "O B-PER I-PER", "PER", EntityErrors(wrong_boundary=1)),
        ("B-PER I-PER O", "O B-LOC I-LOC", "PER", EntityErrors(missed=1)),
        ("B-PER I-PER O", "O B-LOC I-LOC", "LOC", EntityErrors(spurious=1)),
        ("B-PER I-PER I-PER", "B-PER B-PER I-PER", "PER", EntityErrors(spurious=1, wrong_boundary=1)),
        ("B-PER I-PER O", "B-PER I-PER O", "PER", EntityErrors()),
    ],
)
def test_an_error_is_named_by_its_kind(wanted, found, kind, errors):
    assert score_entities([wanted.split()], [found.split()]).errors[kind] == errors


def test_an_inside_tag_that_continues_nothing_begins_an_entity():
    assert entity_spans(["I-PER", "I-PER", "I-LOC"]) == [Span(0, 2, "PER"), Span(2, 3, "LOC")]


def test_entities_have_places_in_tokens_and_in_the_joined_text():
    entities = locate_entities(["Ada", "Lovelace", "saw", "Paris"], ["B-PER", "I-PER", "O", "B-LOC"])
    assert entities == [Entity("PER", "Ada Lovelace", 0, 2, 0, 12), Entity("LOC", "Paris", 3, 4, 17, 22)]


def test_entities_have_places_in_the_text_they_came_from():
    text = "In  New-York!"
    entities = locate_entities(["In", "New", "York"], ["O", "B-LOC", "I-LOC"], text, [(0, 2), (4, 7), (8, 12)])
    assert entities == [Entity("LOC", "New-York", 1, 3, 4, 12)]
    assert text[entities[0].start : entities[0].end] == "New-York"


def test_rows_without_entities_have_no_types_and_a_tag_accuracy():
    scores = score_entities([["O", "O"]], [["O", "O"]])
    assert scores.values == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "f1_macro": 0.0, "accuracy": 1.0}
    assert (scores.types, scores.errors, scores.undefined) == ([], {}, {})


def test_no_rows_give_no_numbers():
    scores = score_entities([], [])
    assert scores.values == dict.fromkeys(ENTITY_METRICS)
    assert set(scores.undefined.values()) == {"there are no rows"}


def test_an_entity_type_never_predicted_stands_in_the_table():
    scores = score_entities([["B-PER", "B-LOC"]], [["B-PER", "O"]])
    assert [(each.label, each.recall, each.support, each.predicted) for each in scores.types] == [
        ("LOC", 0.0, 1, 0),
        ("PER", 1.0, 1, 1),
    ]


def test_a_row_with_another_number_of_tags_is_refused_by_its_number():
    with pytest.raises(DataError, match="row 2 has 1 tokens but 2 predicted tags"):
        score_entities([["O"], ["O"]], [["O"], ["O", "O"]])


def test_row_scores_count_a_row_without_entities_as_right():
    wanted, found = [["O"], ["B-PER", "B-LOC"], ["O"]], [["O"], ["B-PER", "O"], ["B-PER"]]
    assert score_entity_rows(wanted, found) == [
        {"f1": 1.0, "exact_match": 1.0},
        {"f1": pytest.approx(2 / 3), "exact_match": 0.0},
        {"f1": 0.0, "exact_match": 0.0},
    ]
