"""The page as a visitor has it: Streamlit in a process of its own, Chromium, and the moves of a visitor.

with running_page("http://127.0.0.1:8080") as address, chromium() as browser:
    page = open_page(browser, address)
    ask(page, context, question)
    assert answer(page) == "Mark Kraltosund"
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_SECONDS = 60
SHOWN_MS = 20_000
"""Milliseconds that a wait for something on the page may take."""


@contextmanager
def running_page(api_url: str, **environment: str) -> Iterator[str]:
    """Run the page against an endpoint and give the page's address; more settings as keywords, such as API_KEY."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "ui/app.py", f"--server.port={port}"]
    process = subprocess.Popen(
        [*command, "--server.address=127.0.0.1"],
        cwd=ROOT,
        env={**os.environ, "API_URL": api_url, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_up(process, address)
        yield address
    finally:
        process.terminate()
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _wait_until_up(process: subprocess.Popen[str], address: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"Streamlit ended with {process.returncode}: {process.communicate()[0]}")
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=2).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"Streamlit is not up after {START_SECONDS} s")


@contextmanager
def chromium() -> Iterator[Any]:
    """Give a headless browser of Playwright's."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def open_page(
    browser: Any,
    address: str,
    width: int = 1280,
    scheme: Literal["light", "dark"] = "light",
    button: str = "Generate Response",
) -> Any:
    """Open the page as a new visitor and wait for the button."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,
        permissions=["clipboard-read", "clipboard-write"],
    )
    page = context.new_page()
    page.set_default_timeout(SHOWN_MS)
    page.goto(address)
    page.get_by_role("button", name=button).wait_for()
    return page


def fill(page: Any, context: str, question: str) -> None:
    """Type into both fields."""
    page.get_by_label("Context", exact=True).fill(context)
    page.get_by_label("Question", exact=True).fill(question)


def ask(page: Any, context: str, question: str) -> None:
    """Type into both fields and press the button."""
    fill(page, context, question)
    page.get_by_role("button", name="Generate Response").click()


def predict(page: Any, text: str) -> str:
    """Type a text, press Predict, and give what the result says."""
    page.get_by_label("Text", exact=True).fill(text)
    page.get_by_role("button", name="Predict").click()
    page.locator(".facts").wait_for()
    return str(page.locator(".result").inner_text())


def upload(page: Any, button: str, file: Path) -> None:
    """Press a button that opens a file field, and give it a file once the page is drawn: an older field may go yet."""
    page.get_by_role("button", name=button).click()
    page.locator("input[type=file]").last.wait_for(state="attached")
    page.locator("[data-test-script-state=notRunning]").wait_for()
    page.locator("input[type=file]").last.set_input_files(file)


def answer(page: Any) -> str:
    """Wait for the complete answer and give its text."""
    page.locator(".facts").wait_for()
    return str(page.locator(".answer").inner_text()).strip()


def marks(page: Any) -> list[str]:
    """The marked parts of the context."""
    return [str(text) for text in page.locator(".context mark").all_inner_texts()]


def problem(page: Any) -> str:
    """Wait for a message about something that went wrong and give its text."""
    notice = page.locator(".notice.error")
    notice.wait_for()
    return str(notice.inner_text())


def screenshot(page: Any, name: str) -> None:
    """Save a picture of the whole page to the folder named by WHETSTONE_SCREENSHOTS, if there is one."""
    if folder := os.environ.get("WHETSTONE_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        size = page.viewport_size
        # The page scrolls inside a frame of its own, so the window has to grow to show all of it.
        height = page.locator("[data-testid=stMain]").evaluate("main => main.scrollHeight")
        page.set_viewport_size({"width": size["width"], "height": max(height, size["height"])})
        page.screenshot(path=Path(folder) / f"{name}.png")
        page.set_viewport_size(size)
