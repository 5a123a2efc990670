"""Two small things only a browser can do: copy to the clipboard, and speak to a screen reader."""

import functools

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer

COPY_JS = """
export default function ({ parentElement, data }) {
  const button = parentElement.querySelector("button");
  const write = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Pages over plain http have no clipboard API.
      const area = document.createElement("textarea");
      area.value = text;
      area.style.cssText = "position:fixed;opacity:0";
      document.body.append(area);
      area.select();
      const copied = document.execCommand("copy");
      area.remove();
      button.focus();
      if (!copied) throw new Error("copy refused");
    }
  };
  button.onclick = async () => {
    try {
      await write(data.text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select the answer and copy it yourself";
    }
    setTimeout(() => (button.textContent = "Copy answer"), 2500);
  };
}
"""
COPY_CSS = """
button {
  font: inherit; font-size: 0.9rem; padding: 0.35rem 0.8rem; min-height: 2.25rem; cursor: pointer;
  color: var(--st-text-color); background: transparent;
  border: 1px solid var(--st-border-color); border-radius: var(--st-button-radius);
}
button:hover { border-color: var(--st-primary-color); color: var(--st-link-color); }
button:focus-visible { outline: 3px solid var(--st-link-color); outline-offset: 2px; }
"""
SAY_JS = """
export default function ({ parentElement, data }) {
  const place = parentElement.querySelector("[role=status]");
  if (place.textContent !== data.text) place.textContent = data.text;
}
"""
SAY_CSS = (
    "div { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }"
)


@functools.cache
def _copy_button() -> ComponentRenderer:
    html = '<button type="button" aria-live="polite">Copy answer</button>'
    return st.components.v2.component("copy_button", html=html, css=COPY_CSS, js=COPY_JS)


@functools.cache
def _announcer() -> ComponentRenderer:
    return st.components.v2.component("announcer", html='<div role="status"></div>', css=SAY_CSS, js=SAY_JS)


def copy_button(text: str, key: str) -> None:
    """Draw a button that copies text."""
    _copy_button()(key=key, data={"text": text}, width="content")


def announce(text: str) -> None:
    """Have a screen reader say text; at most once a run of the page."""
    _announcer()(key="announcer", data={"text": text})
