"""The page in a real browser, over real HTTP, against a stand-in of the endpoint."""

import pytest
from support import streamlit_page as visitor
from support.endpoint_stand_in import TRACE_ID, EndpointStandIn

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(visitor.CHROMIUM is None, reason="Chromium is not installed"),
]

CONTEXT = (
    "The ferry <b>Staldegik</b> has been at sea since 1772 👩‍🚀.\n"
    "  Mark Kraltosund commands the ferry.\nשלום עולם: مارك كرالتوسوند.\n第二段。"
)
QUESTION = "Who commands the ferry?"
KEY = "sk-canary-0123456789"


@pytest.fixture(scope="module")
def endpoint():
    with EndpointStandIn(api_key=KEY) as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def address(endpoint):
    with visitor.running_page(endpoint.url, API_KEY=KEY, REQUEST_TIMEOUT_SECONDS="1.5") as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with visitor.chromium() as browser:
        yield browser


@pytest.fixture
def page(browser, address, endpoint):
    endpoint.mode = "answer"
    page = visitor.open_page(browser, address)
    yield page
    endpoint.mode = "answer"
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_question_is_answered_marked_and_rated(browser, address, endpoint, width, scheme):
    page = visitor.open_page(browser, address, width, scheme)
    outside: list[str] = []
    page.on("request", lambda request: outside.append(request.url))
    page.reload()
    visitor.ask(page, CONTEXT, QUESTION)
    assert visitor.answer(page) == "Mark Kraltosund"
    assert visitor.marks(page) == ["Mark Kraltosund"]
    assert page.locator(".context").evaluate("text => text.textContent") == CONTEXT
    assert page.locator(".context b").count() == 0
    assert "0.42 s" in page.locator(".facts").inner_text()
    assert "starter-context-qa, revision 1" in page.locator(".facts").inner_text()

    page.get_by_role("radio", name="Thumbs down").click()
    page.get_by_label("Correct answer").fill("Ann")
    page.get_by_label("Comment").fill("wrong person")
    consent = page.get_by_role("checkbox", name="may be used to train the model")
    assert not consent.is_checked()
    page.get_by_text("may be used to train the model").click()
    visitor.screenshot(page, f"answer-{width}-{scheme}")
    page.get_by_role("button", name="Send feedback").click()
    page.get_by_text("Feedback sent").wait_for()
    sent = endpoint.feedback[-1]
    assert sent == {
        "trace_id": TRACE_ID,
        "score": 0.0,
        "correction": "Ann",
        "comment": "wrong person",
        "consent": True,
        "question": QUESTION,
        "context": CONTEXT,
        "response": "Mark Kraltosund",
    }
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert KEY not in page.content()
    assert {url for url in outside if not url.startswith((address, "data:", "blob:"))} == set()
    page.context.close()


def test_the_answer_is_seen_while_it_arrives_and_can_be_stopped(page, endpoint):
    visitor.ask(page, CONTEXT, QUESTION)
    visitor.answer(page)
    endpoint.mode = "slow"
    endpoint.hung_up.clear()
    page.get_by_role("button", name="Generate Response").click()
    page.get_by_text("word word word").wait_for()
    assert page.locator(".facts").count() == 0, "the last answer stands under the one that arrives"
    visitor.screenshot(page, "arriving")
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_text("Incomplete answer").wait_for()
    assert endpoint.hung_up.wait(5)
    assert page.get_by_label("Context", exact=True).input_value() == CONTEXT


def test_an_answer_that_the_context_does_not_hold_is_said_plainly(page):
    visitor.ask(page, "Nothing of use.", QUESTION)
    assert visitor.answer(page) == "The context does not hold the answer."
    assert visitor.marks(page) == []
    visitor.screenshot(page, "absent")


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("rejected", "The prompt has 900 tokens; 512 fit."),
        ("too_large", "The context is too long"),
        ("busy", "Try again in 7 s."),
        ("warming", "Try again in 5 s."),
        ("timeout", "The answer took too long"),
        ("silent", "The endpoint was silent for 1.5 s"),
        ("failed", "The endpoint failed (500)"),
        ("html", "A proxy got no answer from the endpoint (502)"),
        ("denied", "RBAC: access denied."),
        ("login", "This is probably a login."),
        ("page", "Check API_URL"),
        ("error_midway", "The engine failed after 2 tokens."),
        ("cut", "ended before the answer was complete"),
    ],
)
def test_each_failure_is_explained(page, endpoint, mode, words):
    endpoint.mode = mode
    visitor.ask(page, CONTEXT, QUESTION)
    message = visitor.problem(page)
    assert words in message
    assert "<" not in message
    visitor.screenshot(page, f"problem-{mode}")


def test_a_wrong_key_is_explained_and_never_shown(browser, endpoint):
    with visitor.running_page(endpoint.url, API_KEY="sk-wrong-key") as address:
        page = visitor.open_page(browser, address)
        visitor.ask(page, CONTEXT, QUESTION)
        assert "API_KEY of this page is not one of the endpoint's keys" in visitor.problem(page)
        assert "sk-wrong-key" not in page.content()
        visitor.screenshot(page, "problem-unauthorized")
        page.context.close()


def test_an_endpoint_that_is_down_is_noticed_and_so_is_its_return(browser, endpoint):
    with EndpointStandIn() as own, visitor.running_page(own.url) as address:
        own.stop()
        page = visitor.open_page(browser, address)
        page.locator(".status.unreachable").get_by_text(f"Nothing answers at {own.url}.").wait_for()
        visitor.ask(page, CONTEXT, QUESTION)
        assert f"Nothing answers at {own.url}." in visitor.problem(page)
        visitor.screenshot(page, "problem-unreachable")
        own.start()
        page.get_by_text("Ready ·").wait_for()
        page.get_by_role("button", name="Generate Response").click()
        assert visitor.answer(page) == "Mark Kraltosund"
        page.context.close()


def test_the_warming_state_ends_by_itself(browser, address, endpoint):
    endpoint.mode = "warming"
    page = visitor.open_page(browser, address)
    page.get_by_text("The model is warming up").wait_for()
    visitor.screenshot(page, "warming")
    endpoint.mode = "answer"
    page.get_by_text("Ready ·").wait_for()
    page.context.close()


def test_empty_fields_are_named(page, endpoint):
    before = len(endpoint.questions)
    page.get_by_role("button", name="Generate Response").click()
    assert "Context and Question are empty" in visitor.problem(page)
    visitor.screenshot(page, "problem-empty")
    assert len(endpoint.questions) == before


def test_the_page_works_by_keyboard_alone(page):
    page.get_by_label("Context", exact=True).focus()
    page.keyboard.type("Mark Kraltosund commands the ferry.")
    page.keyboard.press("Tab")
    page.keyboard.type(QUESTION)
    assert page.get_by_label("Question", exact=True).evaluate("field => field === document.activeElement")
    visitor.screenshot(page, "focus")
    page.keyboard.press("Tab")
    focused = page.evaluate("document.activeElement.textContent")
    assert "Generate Response" in focused
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert visitor.answer(page) == "Mark Kraltosund"


def test_ctrl_enter_in_the_context_submits(page):
    visitor.fill(page, "Mark Kraltosund commands the ferry.", QUESTION)
    page.get_by_label("Context", exact=True).press("Control+Enter")
    assert visitor.answer(page) == "Mark Kraltosund"


def test_examples_files_and_history_fill_the_fields(page, tmp_path):
    field = page.get_by_label("Context", exact=True)
    page.get_by_role("button", name="Ferry").click()
    page.wait_for_function("document.querySelector('textarea').value.startsWith('The ferry Staldegik')")
    page.get_by_role("button", name="Generate Response").click()
    assert visitor.answer(page) == "Mark Kraltosund"

    text = tmp_path / "notes.md"
    for data, context in (("\ufeffZürich\r\n東京".encode(), "Zürich\\n東京"), (b"saved again", "saved again")):
        text.write_bytes(data)
        visitor.upload(page, "Text file", text)
        page.wait_for_function(f"document.querySelector('textarea').value === '{context}'")
        page.wait_for_function("!document.querySelector('input[type=file]')")
    text.write_bytes(b"Z\xfcrich")
    visitor.upload(page, "Text file", text)
    assert "notes.md is not UTF-8 text" in visitor.problem(page)
    assert field.input_value() == "saved again"
    visitor.screenshot(page, "problem-file")

    page.get_by_role("button", name="Who is the captain").click()
    page.wait_for_function("document.querySelector('textarea').value.startsWith('The ferry Staldegik')")
    assert visitor.answer(page) == "Mark Kraltosund"


def test_the_answer_is_copied_with_a_click(page):
    visitor.ask(page, CONTEXT, QUESTION)
    visitor.answer(page)
    page.get_by_role("button", name="Copy answer").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "Mark Kraltosund"
