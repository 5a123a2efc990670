"""The page and the real endpoint together, in a real browser."""

import json

import pytest
from support import streamlit_page as visitor
from support.endpoint_server import ask

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(visitor.CHROMIUM is None, reason="Chromium is not installed"),
]

CONTEXT = "A carpenter by trade, Ada Morrow is a resident of Tern.\nThe tower is <white>, 🙂 they say."
QUESTION = "Who is a resident of Tern?"


def test_a_question_on_an_own_text_is_answered_marked_and_taught(endpoint):
    expected = ask(endpoint, QUESTION, CONTEXT).json()
    with visitor.running_page(endpoint.url) as address, visitor.chromium() as browser:
        page = visitor.open_page(browser, address)
        visitor.ask(page, CONTEXT, QUESTION)
        shown = expected["response"] if expected["supported"] else "The context does not hold the answer."
        assert visitor.answer(page) == shown
        marked = [CONTEXT[span["start"] : span["end"]] for span in expected["spans"]]
        assert visitor.marks(page) == marked
        assert expected["revision"] in page.locator(".facts").inner_text()
        visitor.screenshot(page, "with-the-endpoint")


def test_feedback_with_consent_reaches_the_training_file(endpoint):
    kept = endpoint.log_file.parent / "feedback.jsonl"
    before = kept.read_text(encoding="utf-8").count("\n") if kept.exists() else 0
    with visitor.running_page(endpoint.url) as address, visitor.chromium() as browser:
        page = visitor.open_page(browser, address)
        visitor.ask(page, CONTEXT, "What is the tower?")
        visitor.answer(page)
        page.get_by_role("radio", name="Thumbs down").click()
        page.get_by_label("Correct answer").fill("white")
        page.get_by_text("may be used to train the model").click()
        page.get_by_role("button", name="Send feedback").click()
        page.get_by_text("Feedback sent").wait_for()
    rows = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == before + 1
    assert rows[-1]["answers"]["text"] == ["white"]
    assert rows[-1]["answers"]["answer_start"] == [CONTEXT.index("white")]
