"""The page of a model of conversations, against a stand-in for the endpoint on loopback."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from support.endpoint_stand_in import EndpointStandIn

APP = Path(__file__).resolve().parents[2] / "ui" / "app.py"


@pytest.fixture
def endpoint(monkeypatch):
    with EndpointStandIn(task="chat_completion") as stand_in:
        monkeypatch.setenv("API_URL", stand_in.url)
        yield stand_in


def said(page: AppTest) -> str:
    assert not page.exception
    return "\n".join(html.proto.body for html in page.get("html"))


def open_page() -> AppTest:
    return AppTest.from_file(APP, default_timeout=20).run()


def test_a_conversation_goes_on_with_all_that_was_said(endpoint):
    page = open_page()
    assert page.title[0].value == "Talk"
    page = page.chat_input[0].set_value("Hello").run()
    assert "You said &lt;b&gt;Hello&lt;/b&gt;" in said(page)
    page = page.chat_input[0].set_value("And you?").run()
    assert [turn["role"] for turn in endpoint.questions[-1]["messages"]] == ["user", "assistant", "user"]
    assert endpoint.questions[-1]["messages"][0]["content"] == "Hello"
    page = next(button for button in page.button if button.label == "New conversation").click().run()
    assert "The conversation appears here" in said(page)


def test_a_refusal_is_explained_and_the_message_can_be_sent_again(endpoint):
    endpoint.mode = "busy"
    page = open_page().chat_input[0].set_value("Hello").run()
    assert "The endpoint is busy" in said(page)
    endpoint.mode = "answer"
    page = next(button for button in page.button if button.label == "Try again").click().run()
    assert "You said" in said(page)
    assert [len(body["messages"]) for body in endpoint.questions] == [1, 1]
