import json
from pathlib import Path

import pytest

from components.core.metrics import best_over_references, exact_match, f1, normalize_answer

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "metrics"
PREDICTIONS = sorted((SHARED / "squad_predictions").glob("*.jsonl"))
needs_shared = pytest.mark.skipif(not PREDICTIONS, reason="the published SQuAD predictions are not on this machine")


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("The Eiffel Tower.", "eiffel tower"),
        ("10-year", "10year"),
        ("the-end", "theend"),
        ("“quoted”", "“quoted”"),
        ("a an the", ""),
        ("Theatre", "theatre"),
        ("  two\n lines ", "two lines"),
    ],
)
def test_normalisation_follows_the_official_script(text, normalized):
    assert normalize_answer(text) == normalized


def test_f1_counts_repeated_words_once_per_occurrence():
    assert f1("x x", "x") == pytest.approx(2 / 3)


def test_f1_of_two_empty_answers_is_one_and_of_one_empty_answer_zero():
    assert (f1("the", "."), f1("x", ""), f1("", "x")) == (1.0, 0.0, 0.0)


def test_the_best_reference_counts():
    assert best_over_references(exact_match, ["312 kilometres", "312 km"], "312 km.") == 1.0


def test_a_missing_prediction_is_wrong_even_where_there_is_no_answer():
    assert best_over_references(f1, [], None) == 0.0
    assert best_over_references(f1, [], "") == 1.0


def test_an_answer_to_a_question_without_one_is_wrong():
    assert best_over_references(f1, [], "Lima") == 0.0


def test_references_that_normalise_to_nothing_do_not_count():
    assert best_over_references(exact_match, ["A.", "Lima"], "") == 0.0
    assert best_over_references(exact_match, ["A."], "") == 1.0


@needs_shared
def test_all_normalisation_cases_agree_with_the_official_script():
    for case in read(SHARED / "normalisation_cases.jsonl"):
        assert normalize_answer(case["gold"]) == case["norm_gold"]
        assert normalize_answer(case["pred"]) == case["norm_pred"]
        assert exact_match(case["gold"], case["pred"]) == case["exact"]
        assert f1(case["gold"], case["pred"]) == pytest.approx(case["f1"])


@needs_shared
@pytest.mark.parametrize("path", PREDICTIONS, ids=lambda path: path.stem)
def test_every_published_prediction_gets_its_official_score(path):
    for row in read(path):
        assert best_over_references(exact_match, row["references"], row["prediction"]) == row["exact"]
        assert best_over_references(f1, row["references"], row["prediction"]) == pytest.approx(row["f1"])
