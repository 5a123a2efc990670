"""The pages of the four tasks in a real browser, over real HTTP, against a stand-in of the endpoint."""

import csv
import io
import re
from pathlib import Path

import pytest
from support import streamlit_page as visitor
from support.endpoint_stand_in import EndpointStandIn

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(visitor.CHROMIUM is None, reason="Chromium is not installed"),
]

TEXTS = {
    "single_label": "Stilmara is a museum. <b>Nina</b> designed it.",
    "multi_label": "A company at this place since that time: שלום 👩‍🚀.",
    "regression": "One two three four five six seven eight nine ten eleven twelve thirteen.",
    "ner": "Anna Balvik founded it in <b>Port Lenrane</b> 👩‍🚀.\nThe Torvane Works built the Brenrane.",
}
SHOWN = {
    "single_label": ("museum", "Probability 72.0 %", "3 more labels"),
    "multi_label": ("company", "97.0 %", "from 62.0 %", "threshold"),
    "regression": ("6.50", "0.50", "9.50", "mean, 5.00"),
    "ner": ("<b>Port Lenrane", "PER × 1", "Anna Balvik", "0–11"),
}


@pytest.fixture(scope="module")
def endpoint():
    with EndpointStandIn(task="single_label") as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def address(endpoint):
    with visitor.running_page(endpoint.url, REQUEST_TIMEOUT_SECONDS="1.5") as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with visitor.chromium() as browser:
        yield browser


def open_page(browser, address, width=1280, scheme="light"):
    return visitor.open_page(browser, address, width, scheme, button="Predict")


@pytest.mark.parametrize("task", TEXTS)
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "light"), (1280, "dark")])
def test_a_result_is_shown_and_fits_the_window(browser, address, endpoint, task, width, scheme):
    endpoint.task = task
    page = open_page(browser, address, width, scheme)
    outside: list[str] = []
    page.on("request", lambda request: outside.append(request.url))
    visitor.screenshot(page, f"{task}-empty-{width}-{scheme}")
    result = visitor.predict(page, TEXTS[task])
    assert all(part in result for part in SHOWN[task])
    assert page.locator(".result b").count() == page.locator(":is(.bar, .track) b").count()
    assert page.get_by_role("status").filter(has_text="Result: ").count() == 1
    visitor.screenshot(page, f"{task}-{width}-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert {url for url in outside if not url.startswith((address, "data:", "blob:"))} == set()
    page.context.close()


@pytest.mark.parametrize("task", TEXTS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_word_of_a_result_has_enough_contrast(browser, address, endpoint, task, scheme):
    endpoint.task = task
    page = open_page(browser, address, scheme=scheme)
    visitor.predict(page, TEXTS[task])
    poor = page.evaluate(CONTRAST)
    assert poor == []
    page.context.close()


@pytest.mark.parametrize(("task", "width"), [("single_label", 1280), ("ner", 1280), ("multi_label", 390)])
def test_several_lines_become_a_table_that_can_be_saved(browser, address, endpoint, task, width, tmp_path):
    endpoint.task = task
    page = open_page(browser, address, width)
    page.get_by_text("Each line is a text of its own").click()
    lines = ["Anna saw a museum.", "The Torvane Works built a ship for a company in Lenrane, " * 3, "time and place"]
    result = visitor.predict(page, "\n".join(lines))
    assert "3 texts" in result
    assert page.locator(".rows tbody tr").count() == 3
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    visitor.screenshot(page, f"{task}-several-{width}")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    saved = tmp_path / "predictions.csv"
    download.value.save_as(saved)
    rows = list(csv.DictReader(io.StringIO(Path(saved).read_text("utf-8-sig"))))
    assert [row["text"] for row in rows] == [line.strip() for line in lines]
    assert page.locator(".rows").is_visible(), "saving must not take the result away"
    page.context.close()


def test_the_page_works_by_keyboard_alone(browser, address, endpoint):
    endpoint.task = "single_label"
    page = open_page(browser, address)
    # Streamlit loads each kind of field on its own: without the box, one Tab would be too many.
    page.get_by_label("Each line is a text of its own").wait_for(state="attached")
    page.get_by_label("Text", exact=True).focus()
    page.keyboard.type("A museum.")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "BUTTON"
    assert "Predict" in page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    page.locator(".verdict", has_text="museum").wait_for()
    more = page.locator(".more summary")
    more.focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.locator(".more").get_by_text("none of these").wait_for()
    page.context.close()


def test_a_silent_endpoint_can_be_left_and_is_explained(browser, address, endpoint):
    endpoint.task = "single_label"
    page = open_page(browser, address)
    try:
        endpoint.mode = "silent"
        page.get_by_label("Text", exact=True).fill("A museum.")
        page.get_by_role("button", name="Predict").click()
        page.get_by_role("button", name="Stop", exact=True).click()
        page.locator(".notice.neutral").get_by_text("Stopped").wait_for()
        page.get_by_role("button", name="Predict").click()
        assert "The endpoint was silent for 1.5 s" in visitor.problem(page)
        visitor.screenshot(page, "prediction-silent")
    finally:
        endpoint.mode = "answer"
    assert re.search("museum", visitor.predict(page, "A museum."))
    page.context.close()


CONTRAST = """
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgb(getComputedStyle(e).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll(".result *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.closest(".heard")) continue;
    const [one, two] = [light(rgb(getComputedStyle(element).color)), light(ground(element))].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (two + 0.05);
    if (ratio < 4.5) poor.push(`${element.className || element.tagName} ${element.textContent} ${ratio.toFixed(2)}`);
  }
  return poor;
}
"""
