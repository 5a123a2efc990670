"""The page of the tasks that a classification or regression head answers: text, result and history."""

import time

import streamlit as st

from ui import parts
from ui.browser import announce
from ui.client import EndpointClient
from ui.contract import Predictions, Task
from ui.problems import Problem
from ui.tasks.examples import EXAMPLES
from ui.tasks.results import draw_result
from ui.tasks.rows import csv_file, draw_rows
from ui.tasks.session import PredictionSession, Request
from ui.waiting import Waiting

REDRAW_SECONDS = 0.2
"""Longest time between two looks at whether the visitor has pressed Stop."""


def draw(client: EndpointClient, task: Task) -> None:
    """Draw everything below the status."""
    session: PredictionSession = st.session_state.setdefault("predictions", PredictionSession())
    left, right = st.columns(2, gap="large")
    with left:
        draw_fields(session, task)
    # Two places, so that the last result does not stay under the one that arrives.
    arriving, complete = right.empty(), right.empty()
    draw_history(session)
    announce(spoken(session))
    if session.running:
        receive(client, session, session.running, arriving.container())
    elif session.shown:
        with complete.container():
            draw_request(session.shown)
    else:
        complete.html('<div class="welcome"><p>The result appears here.</p></div>')


def draw_fields(session: PredictionSession, task: Task) -> None:
    """Draw examples, the text, its pair where there is one, and the button."""
    busy = session.running is not None
    # The examples are single texts.
    examples = {} if task.pair else EXAMPLES[task.task]
    with st.container(horizontal=True, gap="xsmall"):
        for name, text in examples.items():
            st.button(name, key=f"try-{name}", on_click=take_example, args=(session, text), disabled=busy)
    # Only buttons are disabled while a result arrives: Streamlit empties a disabled field.
    with st.form("predict", border=False):
        st.text_area("Text", key="text", height=200, placeholder="The text to look at")
        if task.pair:
            st.text_area("Second text", key="text_pair", height=120, placeholder="The text to compare it with")
        else:
            st.checkbox("Each line is a text of its own", key="several")
        if session.problem:
            st.html(parts.notice(session.problem))
        st.form_submit_button(
            "Predict", type="primary", on_click=start, args=(session, task), disabled=busy, width="stretch"
        )


def receive(
    client: EndpointClient, session: PredictionSession, request: Request, pane: st.delta_generator.DeltaGenerator
) -> None:
    """Wait for the predictions; Stop and every other action of the visitor ends this at the next redraw."""
    with pane:
        spot = st.empty()
        st.button("Stop", on_click=session.finish)
    began = time.monotonic()
    waiting = Waiting(lambda: client.predict(request.task.name, request.instances))
    while not waiting.done(REDRAW_SECONDS):
        spot.html(f'<p class="label">Predicting… {time.monotonic() - began:.0f} s</p>')
    try:
        request.found = waiting.result()
    except Problem as problem:
        request.problem = problem
    request.seconds = time.monotonic() - began
    session.finish()
    st.rerun()


def draw_request(request: Request) -> None:
    """Draw what came of a request."""
    found = request.found
    if found is None:
        stopped = Problem("stopped", "Stopped", advice="Press Predict to ask again.")
        st.html(parts.notice(request.problem) if request.problem else parts.notice(stopped, kind="neutral"))
        return
    if request.several:
        draw_several(request, found)
    else:
        st.html(f'<div class="result">{draw_result(request.task, request.texts[0], found.predictions[0])}</div>')
    st.html(parts.served(found, request.seconds))


def draw_several(request: Request, found: Predictions) -> None:
    """Draw the table of several texts, and the button that saves it."""
    st.html(f'<div class="result">{draw_rows(request.task, request.texts, found.predictions)}</div>')
    st.download_button(
        "Download CSV",
        csv_file(request.task, request.texts, found.predictions),
        file_name="predictions.csv",
        mime="text/csv",
        key=f"csv-{request.id}",
        on_click="ignore",
    )


def draw_history(session: PredictionSession) -> None:
    """List the texts of this session, newest first; a click brings one back."""
    if not session.requests:
        return
    st.header("Your texts", anchor=False)
    rows = st.container(gap=None)
    for request in reversed(session.requests):
        rows.button(
            f"**{parts.in_label(request.texts[0])}** — {parts.in_label(request.outcome)}",
            key=f"past-{request.id}",
            type="tertiary",
            width="stretch",
            on_click=bring_back,
            args=(session, request),
            disabled=session.running is not None,
        )


def start(session: PredictionSession, task: Task) -> None:
    """Begin with the text in the fields."""
    state = st.session_state
    session.ask(task, state.text, state.get("text_pair") or "", bool(state.get("several")) and not task.pair)


def take_example(session: PredictionSession, text: str) -> None:
    """Fill the field."""
    st.session_state.text, st.session_state.several = text, False
    session.problem = None


def bring_back(session: PredictionSession, request: Request) -> None:
    """Show an earlier text with its result."""
    st.session_state.text, st.session_state.several = request.written, request.several
    st.session_state.text_pair = request.pair
    session.shown, session.problem = request, None


def spoken(session: PredictionSession) -> str:
    """What a screen reader says after this action; problems are read out where they stand."""
    if session.running:
        return "Predicting"
    if session.shown is None or session.shown.found is None:
        return ""
    return f"Result: {session.shown.outcome}"
