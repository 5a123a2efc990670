"""The contract of rows with a number."""

import pytest

from components.core.recipe import TaskConfig
from components.core.tasks import get_task

TASK = get_task(TaskConfig(name="regression"))


@pytest.mark.parametrize(
    ("value", "score"), [(3, 3.0), (2.5, 2.5), ("2.5", 2.5), (" -1e3 ", -1000.0), (10**20, 1e20), (0, 0.0)]
)
def test_a_number_or_the_text_of_one_is_a_score(value, score):
    row, findings = TASK.parse_row({"text": "good", "score": value})
    assert (row, findings) == ({"text": "good", "score": score}, [])
    assert isinstance(row["score"], float)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, "wrong_type"),
        (None, "missing_field"),
        (float("nan"), "not_finite"),
        (float("inf"), "not_finite"),
        ("nan", "not_finite"),
        ("-inf", "not_finite"),
        ("four", "wrong_type"),
        ("1_000", "wrong_type"),
        ("1,5", "wrong_type"),
        ("", "wrong_type"),
        ([1], "wrong_type"),
        (10**400, "wrong_type"),
    ],
)
def test_what_is_no_finite_number_is_refused(value, kind):
    row, findings = TASK.parse_row({"text": "good", "score": value})
    assert row is None
    assert [finding.kind for finding in findings] == [kind]


def test_two_scores_for_a_text_are_two_answers():
    assert TASK.row_answer({"score": 1.0}) != TASK.row_answer({"score": 1.5})
