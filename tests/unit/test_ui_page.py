import math
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from support.endpoint_stand_in import TRACE_ID, EndpointStandIn

APP = Path(__file__).resolve().parents[2] / "ui" / "app.py"
CONTEXT = "The ferry left. Mark Kraltosund commands <b>the ferry</b>."
QUESTION = "Who commands the ferry?"


@pytest.fixture
def endpoint(monkeypatch):
    with EndpointStandIn() as stand_in:
        monkeypatch.setenv("API_URL", stand_in.url)
        yield stand_in


def open_page() -> AppTest:
    return AppTest.from_file(APP, default_timeout=20).run()


def button(page: AppTest, label: str):
    return next(button for button in page.button if button.label.startswith(label))


def ask(page: AppTest, context: str = CONTEXT, question: str = QUESTION) -> AppTest:
    page.text_area(key="context").input(context)
    page.text_input(key="question").input(question)
    return button(page, "Generate Response").click().run()


def shown(page: AppTest) -> str:
    assert not page.exception
    return "\n".join(html.proto.body for html in page.get("html"))


def test_the_fields_and_the_button_have_their_names(endpoint):
    page = open_page()
    assert page.title[0].value == "Ask your text"
    assert page.text_area[0].label == "Context"
    assert page.text_input[0].label == "Question"
    assert button(page, "Generate Response").label == "Generate Response"
    assert "Ready · starter-context-qa" in shown(page)


def test_an_answer_is_shown_with_its_evidence_and_facts(endpoint):
    page = ask(open_page())
    assert '<p class="answer" dir="auto">Mark Kraltosund</p>' in shown(page)
    assert "<mark>Mark Kraltosund</mark> commands &lt;b&gt;the ferry&lt;/b&gt;." in shown(page)
    assert "0.42 s" in shown(page)
    assert (endpoint.questions[-1]["question"], endpoint.questions[-1]["context"]) == (QUESTION, CONTEXT)
    assert page.text_area(key="context").value == CONTEXT


def test_questions_of_one_visitor_share_a_session_id(endpoint):
    page = ask(ask(open_page()))
    ask(open_page())
    first, second, other = (body["session_id"] for body in endpoint.questions)
    assert first == second != other
    assert len(page.session_state.session.exchanges) == 2


def test_an_empty_field_is_named_and_nothing_is_asked(endpoint):
    page = ask(open_page(), question=" ")
    assert "Question is empty" in shown(page)
    assert endpoint.questions == []
    assert "Question is empty" not in shown(ask(page))


def test_a_failure_is_shown_and_the_next_question_works(endpoint):
    endpoint.mode = "busy"
    page = ask(open_page())
    assert "Try again in 7 s." in shown(page)
    endpoint.mode = "answer"
    assert "<mark>" in shown(ask(page))


def test_what_arrived_before_a_failure_stays_on_the_page(endpoint):
    endpoint.mode = "error_midway"
    page = ask(open_page())
    assert "The endpoint stopped before the end" in shown(page)
    assert "Incomplete answer" in shown(page)


def test_an_example_fills_both_fields(endpoint):
    page = open_page()
    button(page, "Towns").click().run()
    assert page.text_input(key="question").value == "How many people live in Port Lenrane?"
    assert page.text_area(key="context").value.startswith("Port Lenrane lives")


def test_the_history_brings_a_question_back(endpoint):
    page = ask(ask(open_page()), context="Nothing here.", question="And now?")
    assert "The context does not hold the answer." in shown(page)
    button(page, "**Who commands").click().run()
    assert "<mark>" in shown(page)
    assert page.text_input(key="question").value == QUESTION


def rate(page: AppTest, thumb: int) -> AppTest:
    return page.get("feedback")[0].set_value(thumb).run()


def test_feedback_is_sent_with_consent_only_when_it_is_given(endpoint):
    page = rate(ask(open_page()), 0)
    assert page.checkbox[0].value is False
    page.text_area[1].input("Ann")
    button(page, "Send feedback").click().run()
    assert "Feedback sent" in shown(page)
    sent = endpoint.feedback[-1]
    assert (sent["score"], sent["correction"], sent["comment"]) == (0.0, "Ann", None)
    assert (sent["consent"], sent["trace_id"], sent["response"]) == (False, TRACE_ID, "Mark Kraltosund")

    page = rate(ask(page), 1)
    page.checkbox[0].check()
    button(page, "Send feedback").click().run()
    assert (endpoint.feedback[-1]["score"], endpoint.feedback[-1]["consent"]) == (1.0, True)


def test_feedback_that_cannot_be_delivered_says_so_and_can_be_sent_again(endpoint):
    page = rate(ask(open_page()), 1)
    endpoint.mode = "forgetful"
    button(page, "Send feedback").click().run()
    assert "no longer knows this answer" in shown(page)
    endpoint.mode = "answer"
    button(page, "Send feedback").click().run()
    assert "Feedback sent" in shown(page)


def test_the_warming_state_is_shown_and_goes_away(endpoint):
    endpoint.mode = "warming"
    page = open_page()
    assert "The model is warming up" in shown(page)
    endpoint.mode = "answer"
    page.session_state.looked = -math.inf
    assert "Ready ·" in shown(page.run())


def test_impossible_settings_are_explained_on_the_page(monkeypatch):
    monkeypatch.setenv("REQUEST_TIMEOUT_SECONDS", "soon")
    page = open_page()
    assert "REQUEST_TIMEOUT_SECONDS" in shown(page)
    assert not page.button


def test_the_key_is_nowhere_on_the_page(endpoint, monkeypatch):
    endpoint.api_key = "sk-right"
    monkeypatch.setenv("API_KEY", "sk-canary-0123456789")
    page = ask(open_page())
    assert "is not one of the endpoint&#x27;s keys" in shown(page)
    assert "sk-canary" not in shown(page) + repr(page.session_state)
