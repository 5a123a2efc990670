"""The contract of rows with one label, and with a list of labels."""

import re

import pytest

from components.core.recipe import TaskConfig
from components.core.tasks import get_generative_task, get_task

SINGLE = get_task(TaskConfig(name="single_label"))
MULTI = get_task(TaskConfig(name="multi_label"))


def label_of(value):
    row, findings = SINGLE.parse_row({"text": "good", "label": value})
    assert row is not None, findings
    return row["label"]


def labels_of(value):
    row, findings = MULTI.parse_row({"text": "good", "labels": value})
    assert row is not None, findings
    return row["labels"], [finding.kind for finding in findings]


def refusal(task, raw):
    row, findings = task.parse_row(raw)
    assert row is None
    return findings[0]


@pytest.mark.parametrize(
    ("value", "label"),
    [("joy", "joy"), (1, "1"), ("1", "1"), (1.0, "1"), (-3, "-3"), (True, "true"), (False, "false"), ("NA", "NA")],
)
def test_labels_of_any_kind_become_one_text(value, label):
    assert label_of(value) == label


def test_white_space_in_a_label_goes_with_a_warning():
    row, findings = SINGLE.parse_row({"text": "good", "label": " card\u00a0lost\n"})
    assert row == {"text": "good", "label": "card lost"}
    assert [(finding.kind, finding.severity) for finding in findings] == [("label_trimmed", "warning")]


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (0.5, "label_not_whole", "found a fraction; is this a regression"),
        (float("inf"), "label_not_whole", "fraction"),
        (None, "missing_field", "expected a label, found null"),
        (float("nan"), "missing_field", "found null"),
        ("  ", "empty_label", "label: is empty"),
        (["joy"], "wrong_type", "found a list"),
        ("x" * 201, "label_too_long", "over 200 characters"),
        ("a\x00b", "control_character", "control character"),
        ("a\ud800", "not_unicode", "surrogate"),
    ],
)
def test_what_is_no_label_is_refused(value, kind, message):
    finding = refusal(SINGLE, {"text": "good", "label": value})
    assert finding.kind == kind
    assert re.search(message, finding.message)


def test_a_row_keeps_its_id_text_and_pair_and_nothing_else():
    raw = {"label": "a", "id": 7, "text_pair": "two ", "text": " one", "other": 1}
    assert SINGLE.parse_row(raw)[0] == {"id": "7", "text": " one", "text_pair": "two ", "label": "a"}


@pytest.mark.parametrize("pair", [None, float("nan")])
def test_a_missing_pair_is_left_out(pair):
    assert SINGLE.parse_row({"text": "one", "text_pair": pair, "label": "a"})[0] == {"text": "one", "label": "a"}


def test_every_reason_is_named_at_once():
    row, findings = SINGLE.parse_row({"text": " ", "text_pair": "", "label": None})
    assert row is None
    assert [finding.message for finding in findings] == [
        "text: is empty",
        "text_pair: is empty",
        "label: expected a label, found null",
    ]


def test_a_text_of_10000_characters_passes():
    assert SINGLE.parse_row({"text": "word " * 2000, "label": "a"})[0] == {"text": "word " * 2000, "label": "a"}


def test_a_canonical_row_stays_as_it_is():
    for task, raw in ((SINGLE, {"text": "a", "label": True}), (MULTI, {"text": "a", "labels": "['b', 'b']"})):
        row, _ = task.parse_row(raw)
        assert task.parse_row(row) == (row, [])


def test_rows_ask_the_same_but_for_case_and_space():
    one = SINGLE.row_key({"text": "A  b", "text_pair": "C"})
    assert one == SINGLE.row_key({"text": "a B\n", "text_pair": "c "}) != SINGLE.row_key({"text": "a b c"})


@pytest.mark.parametrize("value", [["joy", "love"], '["joy", "love"]', "['joy', 'love']", " ['joy' , \"love\"] "])
def test_labels_are_a_list_or_a_text_of_one(value):
    assert labels_of(value) == (["joy", "love"], [])


def test_no_label_is_a_legal_answer():
    assert labels_of([]) == ([], [])
    assert labels_of("[]") == ([], [])


def test_repeated_labels_are_merged_with_a_warning():
    assert labels_of(["joy", "love", "joy"]) == (["joy", "love"], ["duplicate_label"])


def test_ids_are_labels():
    assert labels_of([27, 3]) == (["27", "3"], [])
    assert labels_of([1]) == (["1"], [])


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ([0, 1, 0], "multi_hot"),
        ([1, 0], "multi_hot"),
        ([0, 2, 0], "multi_hot"),
        ([True, False], "multi_hot"),
        ("[0.0, 1.0]", "multi_hot"),
        (["joy", None], "wrong_type"),
        ([["joy"]], "wrong_type"),
        (["joy", " "], "empty_label"),
        ("joy", "wrong_type"),
        ("joy,love", "wrong_type"),
        ("['joy' 'love']", "wrong_type"),
        ("[joy]", "wrong_type"),
        ("__import__('os').getcwd()", "wrong_type"),
        ("[__import__('os').getcwd()]", "wrong_type"),
        ("[" * 5000, "wrong_type"),
        ("['a', " + "'b', " * 5000 + "'c']", "wrong_type"),
        ({"joy": 1}, "wrong_type"),
        (None, "missing_field"),
    ],
)
def test_what_is_no_list_of_labels_is_refused(value, kind):
    assert refusal(MULTI, {"text": "good", "labels": value}).kind == kind


def test_the_order_of_labels_is_no_conflict():
    assert MULTI.row_answer({"labels": ["b", "a"]}) == MULTI.row_answer({"labels": ["a", "b"]})


def test_a_prompt_is_refused_where_nothing_is_asked():
    with pytest.raises(ValueError, match="ner has no prompt, yet prompt_template is set"):
        TaskConfig(name="ner", prompt_template="{context} {question}")
    assert TaskConfig.model_validate(TaskConfig(name="ner").model_dump()).name == "ner"


def test_a_task_with_a_head_generates_no_text():
    with pytest.raises(Exception, match="task.name=ner generates no text"):
        get_generative_task(TaskConfig(name="ner"))
