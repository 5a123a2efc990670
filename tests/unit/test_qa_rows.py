import re

import pytest

from components.core.tasks.qa_rows import parse_qa_row

CONTEXT = "Lima is the capital of Peru. Lima lies on the coast."
GOOD = {
    "id": "a",
    "context": CONTEXT,
    "question": "Capital of Peru?",
    "answers": {"text": ["Lima"], "answer_start": [0]},
}


def kinds(raw):
    row, findings = parse_qa_row(raw)
    assert (row is None) == any(finding.severity == "error" for finding in findings)
    return [finding.kind for finding in findings]


def test_a_good_row_is_given_back_as_it_is():
    row, findings = parse_qa_row(GOOD | {"title": "Peru", "is_impossible": False, "other": 1})
    assert (row, findings) == (GOOD | {"title": "Peru"}, [])


@pytest.mark.parametrize("answers", [["Lima"], "Lima", '{"text": ["Lima"], "answer_start": [0]}', '["Lima"]'])
def test_other_shapes_of_answers_become_the_canonical_one(answers):
    row, findings = parse_qa_row(GOOD | {"answers": answers})
    assert (row, findings) == (GOOD, [])


@pytest.mark.parametrize(
    "change",
    [
        {"answers": {"text": [], "answer_start": []}},
        {"answers": [], "is_impossible": True},
        {"answers": None, "is_impossible": "true"},
        {"answers": {"text": [""], "answer_start": [0]}, "is_impossible": True},
    ],
)
def test_a_row_without_answer_is_unanswerable(change):
    row, findings = parse_qa_row(GOOD | change)
    assert row is not None
    assert (row["answers"], findings) == ({"text": [], "answer_start": []}, [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"context": 12345}, "context: expected text, found a number"),
        ({"question": ["a"]}, "question: expected text, found a list"),
        ({"context": None}, "context: expected text, found null"),
        ({"answers": {"text": "Lima", "answer_start": 0}}, "answers.text: expected a list of texts, found text"),
        ({"answers": {"text": ["Lima"], "answer_start": 0}}, "answer_start: expected a list of whole numbers"),
        ({"answers": {"text": ["Lima"], "answer_start": ["0"]}}, "expected whole numbers, found text"),
        ({"answers": {"text": ["Lima"], "answer_start": [float("nan")]}}, "expected whole numbers"),
        ({"answers": {"text": ["Lima"], "answer_start": []}}, "1 texts but 0 starts"),
        ({"answers": {"answer_start": [0]}}, "answers.text: is missing"),
        ({"answers": {"text": [None], "answer_start": [0]}}, r"answers.text\[0\]: expected text, found null"),
        ({"answers": 7}, "answers: expected .* found a number"),
        ({"answers": None}, "answers: expected texts with their starts, found null"),
        ({"is_impossible": "maybe"}, "is_impossible: expected true or false"),
        ({"title": 3}, "title: expected text"),
        ({"id": ["a"]}, "id: expected text, found a list"),
        ({"context": " \n"}, "context: is empty"),
        ({"question": ""}, "question: is empty"),
        ({"context": "half \ud800 pair"}, "half of a surrogate pair at character 5"),
        ({"answers": {"text": [" \t"], "answer_start": [0]}}, "only whitespace"),
        ({"is_impossible": True}, "is_impossible is true but answers hold text"),
        ({"answers": [], "is_impossible": False}, "is_impossible is false but there is no answer"),
    ],
)
def test_an_unusable_row_is_refused_with_field_and_reason(change, message):
    row, findings = parse_qa_row(GOOD | change)
    assert row is None
    assert [finding.severity for finding in findings] == ["error"]
    assert re.search(message, findings[0].message)


def test_missing_columns_are_all_named_with_the_ones_found():
    row, findings = parse_qa_row({"passage": "x", "query": "y"})
    assert row is None
    assert [finding.kind for finding in findings] == ["missing_field"] * 3
    assert all("found: passage, query" in finding.message for finding in findings)


@pytest.mark.parametrize(("given", "expected"), [(1, "1"), (7.0, "7"), (10**30, "1" + "0" * 30), (True, "True")])
def test_other_ids_become_text_with_a_warning(given, expected):
    row, findings = parse_qa_row(GOOD | {"id": given})
    assert row is not None
    assert (row["id"], [finding.kind for finding in findings]) == (expected, ["id_not_text"])


def test_a_missing_id_is_made_of_the_content():
    first, again = (parse_qa_row(GOOD | {"id": missing})[0] for missing in (None, float("nan")))
    other, _ = parse_qa_row({**GOOD, "id": "", "question": "Another one?"})
    assert first is not None
    assert other is not None
    assert first == again
    assert first["id"] != other["id"]


def test_an_answer_outside_the_context_is_kept_with_a_warning():
    assert kinds(GOOD | {"answers": ["Cusco"]}) == ["answer_not_in_context"]


def test_a_wrong_start_is_corrected_to_the_nearest_occurrence():
    row, findings = parse_qa_row(GOOD | {"answers": {"text": ["Lima"], "answer_start": [25]}})
    assert row is not None
    assert row["answers"]["answer_start"] == [29]
    assert [finding.kind for finding in findings] == ["answer_start_corrected"]


def test_whitespace_around_an_answer_goes_and_its_start_moves():
    row, findings = parse_qa_row(GOOD | {"answers": {"text": [" Lima "], "answer_start": [28]}})
    assert row is not None
    assert (row["answers"], findings) == ({"text": ["Lima"], "answer_start": [29]}, [])


def test_a_blank_answer_among_others_is_left_out_with_a_warning():
    row, findings = parse_qa_row(GOOD | {"answers": {"text": ["Lima", " "], "answer_start": [0, 4]}})
    assert row is not None
    assert row["answers"]["text"] == ["Lima"]
    assert [finding.kind for finding in findings] == ["blank_answer_left_out"]
