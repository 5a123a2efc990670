"""The loop's report: curves of score against rows and cost, gains with intervals, the decision first."""

import re

import pytest

from components.core.loop import LoopConfig, Round, Usage, decide
from components.core.loop.history import Points
from components.core.loop.report import score_curves, summarize_loop, write_loop_report


def points(value):
    return Points(value=value, low=value - 2, high=value + 2)


def a_round(number, value, usd=0.25, model="starter"):
    return Round(
        number=number, model=model, similarity=points(value), precision=points(value + 1),
        coverage=points(value / 2), qualification=value > 90,
        prompts={f"p{key}": value + key % 7 for key in range(30)}, train_rows=100 * number, synthetic_rows=50 * number,
        judging=Usage(calls=40, input_tokens=4000, output_tokens=400, usd=usd),
    )  # fmt: skip


def loop_of(*values, **options):
    found = None
    for number, value in enumerate(values):
        found = decide(
            found.rounds if found else (), a_round(number, value, **options), LoopConfig(), {"similarity": 90}
        )
    return found


def test_the_page_says_the_decision_first_and_shows_every_round(tmp_path):
    write_loop_report(loop_of(20, 60, 95), 0.95, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "PASSED: the model of round 2 is good enough" in page
    assert "may stand in for the service LLM" in page
    assert page.count("<tr>") == 4
    assert page.count("<polyline") == 6
    assert len(re.findall(r'class="interval good"', page)) == 2
    assert "http://" not in page
    assert "https://" not in page


def test_a_loop_that_did_not_pass_says_that_nothing_may_stand_in(tmp_path):
    write_loop_report(loop_of(20, 20, 20), 0.95, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "PLATEAU: the last 2 rounds did not surely gain anything" in page
    assert "No model of this loop may stand in" in page
    assert (tmp_path / "report.md").read_text().startswith("## ⛔ PLATEAU")


def test_markdown_holds_a_row_for_each_round_and_what_was_spent():
    text = summarize_loop(loop_of(20, 60))
    assert len(re.findall(r"^\| \d \|", text, flags=re.MULTILINE)) == 2
    assert "called 80 times: 8,000 tokens in, 800 out, 0.50 USD" in text
    assert "| 1 | starter | 60.0 (58.0 to 62.0) | 61.0 (59.0 to 63.0) | 30.0 (28.0 to 32.0) | +40.0 (" in text


@pytest.mark.parametrize(
    ("usd", "caption"), [(0.25, "Score against USD"), (0.0, "Score against calls of the service LLM")]
)
def test_the_cost_is_in_usd_where_the_service_has_a_price(usd, caption):
    assert [name for name, _ in score_curves(loop_of(20, 60, usd=usd))] == ["Score against training rows", caption]


def test_a_single_round_draws_too(tmp_path):
    write_loop_report(loop_of(20), 0.95, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "Is a gain real?" not in page
    assert "<circle" in page


def test_names_of_models_are_text(tmp_path):
    write_loop_report(loop_of(20, model="<script>x</script>"), 0.95, tmp_path)
    assert "<script>" not in (tmp_path / "report.html").read_text()
