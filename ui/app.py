"""The page: what the served model does decides which one is drawn.

python -m streamlit run ui/app.py
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from ui import parts
from ui.client import EndpointClient, connect
from ui.contract import Task
from ui.problems import Problem
from ui.settings import load_settings
from ui.status import look, show_status
from ui.tasks import chat, context_qa, prediction

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Page:
    """Title, what the page is for, and how it is drawn."""

    title: str
    lead: str
    draw: Callable[[EndpointClient, Task], None] = prediction.draw


PAGES = {
    "context_qa": Page(
        "Ask your text",
        "Paste a text, ask a question, and see which words of the text hold the answer.",
        context_qa.draw,
    ),
    "chat_completion": Page("Talk", "Write a message and see how the model goes on.", chat.draw),
    "single_label": Page("Label a text", "Paste a text and see its label, and how probable the model finds each."),
    "multi_label": Page("Label a text", "Paste a text and see all labels that fit it, each against its threshold."),
    "regression": Page("Rate a text", "Paste a text and see the number that the model gives it."),
    "ner": Page("Find names in a text", "Paste a text and see which names the model finds in it, and of what type."),
}


def main() -> None:
    """Draw the page once; Streamlit calls this after every action of the visitor."""
    try:
        client = connect(load_settings())
    except Problem as problem:
        draw_head(PAGES["context_qa"])
        st.html(parts.notice(problem))
        return
    task = served_task(client)
    page = PAGES.get(task.task)
    draw_head(page or PAGES["context_qa"])
    show_status(client)
    if page:
        page.draw(client, task)
    else:
        advice = "Deploy the page from the same version as the endpoint."
        st.html(parts.notice(Problem("task", f"This page knows no task {task.task}", advice=advice)))


def draw_head(page: Page) -> None:
    """Draw the title and what the page is for."""
    # A file, because an icon by name would be fetched from outside.
    st.set_page_config(page_title=f"Whetstone: {page.title.lower()}", page_icon=HERE / "icon.svg", layout="wide")
    st.html(HERE / "style.css")
    st.title(page.title, anchor=False)
    st.html(f'<p class="lead">{page.lead}</p>')


def served_task(client: EndpointClient) -> Task:
    """What the model does; asked again when the endpoint is in another state or serves another model."""
    health = look(client)
    task: Task | None = st.session_state.get("task")
    if task is None or st.session_state.task_of != health:
        # An endpoint that has gone away for a while does not turn the page into another one.
        if task is None or health.status == "ready":
            task = client.task(health)
        st.session_state.task, st.session_state.task_of = task, health
    return task


main()
