"""The pages of the four tasks, drawn by Streamlit's own test driver against a stand-in of the endpoint."""

import math
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from support.endpoint_stand_in import EndpointStandIn
from support.predicting_stand_in import LONGEST

from ui.contract import Task

APP = Path(__file__).resolve().parents[2] / "ui" / "app.py"


@pytest.fixture
def serve(monkeypatch):
    running = []

    def served(task: str, pair: bool = False) -> EndpointStandIn:
        endpoint = EndpointStandIn(task=task, pair=pair)
        endpoint.start()
        running.append(endpoint)
        monkeypatch.setenv("API_URL", endpoint.url)
        return endpoint

    yield served
    for endpoint in running:
        endpoint.mode = "answer"
        endpoint.stop()


def open_page() -> AppTest:
    return AppTest.from_file(APP, default_timeout=20).run()


def button(page: AppTest, label: str):
    return next(button for button in page.button if button.label.startswith(label))


def predict(page: AppTest, text: str) -> AppTest:
    page.text_area(key="text").input(text)
    return button(page, "Predict").click().run()


def shown(page: AppTest) -> str:
    assert not page.exception
    return "\n".join(html.proto.body for html in page.get("html"))


@pytest.mark.parametrize(
    ("task", "title", "text", "parts"),
    [
        ("single_label", "Label a text", "A museum opened.", ('verdict" dir="auto">museum', "72.0 %", "<details")),
        ("multi_label", "Label a text", "A place in time.", ('<ul class="chips">', "97", "inset-inline-start:62.0%")),
        ("regression", "Rate a text", "One two three.", ('verdict">1.50', "0.50 to 9.50", "mean is 5.00")),
        ("ner", "Find names in a text", "Ann Bo <b>saw</b> Rome.", ("Ann Bo<span", "&lt;b&gt;saw", "LOC × 1")),
    ],
)
def test_each_task_has_a_page_that_shows_its_result(serve, task, title, text, parts):
    endpoint = serve(task)
    page = open_page()
    assert page.title[0].value == title
    assert [area.label for area in page.text_area] == ["Text"]
    assert f"Ready · starter-{task.replace('_', '-')}" in shown(page)
    page = predict(page, text)
    assert all(part in shown(page) for part in parts)
    assert f"starter-{task.replace('_', '-')}, " in shown(page)
    assert endpoint.predicted == [{"instances": [{"text": text}]}]
    assert page.text_area(key="text").value == text


@pytest.mark.parametrize("task", ["single_label", "multi_label", "regression", "ner"])
def test_examples_fill_the_text_and_can_be_predicted(serve, task):
    endpoint = serve(task)
    page = open_page()
    page.button[0].click().run()
    text = page.text_area(key="text").value
    button(page, "Predict").click().run()
    assert endpoint.predicted == [{"instances": [{"text": text}]}]
    assert len(text) > 20


@pytest.mark.parametrize("task", ["single_label", "multi_label", "regression", "ner"])
def test_several_lines_become_a_table_and_a_file(serve, task):
    endpoint = serve(task)
    page = open_page()
    page.checkbox(key="several").check()
    page = predict(page, "Ann saw a museum.\n\nA place.")
    assert endpoint.predicted == [{"instances": [{"text": "Ann saw a museum."}, {"text": "A place."}]}]
    assert "2 texts" in shown(page)
    assert shown(page).count('<th scope="row"') == 2
    assert [each.proto.label for each in page.get("download_button")] == ["Download CSV"]


def test_a_model_of_pairs_asks_for_two_texts(serve):
    endpoint = serve("regression", pair=True)
    page = open_page()
    assert [area.label for area in page.text_area] == ["Text", "Second text"]
    assert not page.checkbox
    assert "Second text is empty" in shown(predict(page, "one"))
    page.text_area(key="text_pair").input("two")
    predict(page, "one")
    assert endpoint.predicted == [{"instances": [{"text": "one", "text_pair": "two"}]}]


def test_an_empty_text_is_named_and_nothing_is_asked(serve):
    endpoint = serve("ner")
    page = predict(open_page(), " \n")
    assert "Text is empty" in shown(page)
    assert endpoint.predicted == []
    assert "Text is empty" not in shown(predict(page, "Ann"))


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("rejected", "Change the text and try again."),
        ("too_large", "The text is too long for the endpoint"),
        ("busy", "Try again in 7 s."),
        ("failed", "The endpoint failed (500)"),
        ("html", "A proxy got no answer from the endpoint (502)"),
        ("denied", "RBAC: access denied."),
        ("login", "This is probably a login."),
        ("page", "answer cannot be read"),
    ],
)
def test_a_failure_is_explained_and_the_next_text_works(serve, mode, words):
    endpoint = serve("single_label")
    page = open_page()
    endpoint.mode = mode
    page = predict(page, "A museum.")
    assert words in shown(page)
    assert "<h1>" not in shown(page)
    endpoint.mode = "answer"
    assert 'verdict" dir="auto">museum' in shown(predict(page, "A museum."))


def test_a_cut_text_is_noted(serve):
    serve("multi_label")
    page = predict(open_page(), "place " * LONGEST)
    assert "The text was cut" in shown(page)
    assert "128 tokens" in shown(page)


def test_the_history_brings_a_text_back_with_its_result(serve):
    serve("single_label")
    page = predict(predict(open_page(), "A museum."), "A bridge.")
    assert 'verdict" dir="auto">bridge' in shown(page)
    button(page, r"**A museum").click().run()
    assert 'verdict" dir="auto">museum' in shown(page)
    assert page.text_area(key="text").value == "A museum."


def test_the_page_becomes_the_one_of_the_task_once_the_model_is_warm(serve):
    endpoint = serve("ner")
    endpoint.mode = "warming"
    page = open_page()
    assert "The model is warming up" in shown(page)
    endpoint.mode = "answer"
    page.session_state.looked = -math.inf
    page.run()
    assert page.title[0].value == "Find names in a text"


def test_an_endpoint_that_goes_away_keeps_its_page(serve, monkeypatch):
    serve("regression")
    page = open_page()
    monkeypatch.setenv("API_URL", "http://127.0.0.1:9")
    page.session_state.looked = -math.inf
    page.run()
    assert page.title[0].value == "Rate a text"
    assert "The endpoint cannot be reached" in shown(page)


def test_another_model_brings_its_own_page(serve):
    endpoint = serve("regression")
    page = predict(open_page(), "One two.")
    endpoint.task = "ner"
    page.session_state.looked = -math.inf
    page.run()
    assert page.title[0].value == "Find names in a text"
    assert "1.00 on a scale from" in shown(page), "the earlier result is shown as what it was"


def test_a_task_that_the_page_does_not_know_is_said(serve, monkeypatch):
    monkeypatch.setattr("ui.client.EndpointClient.task", lambda *_: Task(task="<b>"))
    serve("ner")
    assert "This page knows no task &lt;b&gt;" in shown(open_page())
