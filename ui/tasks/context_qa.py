"""The page of context question answering: fields, answer, evidence, feedback and history."""

import time
from contextlib import closing

import streamlit as st

from ui import parts
from ui.browser import announce, copy_button
from ui.client import EndpointClient
from ui.contract import Feedback, Task
from ui.examples import EXAMPLES, Example
from ui.problems import Problem
from ui.reception import Reception
from ui.session import Exchange, Session
from ui.text_files import LARGEST_MB, UPLOAD_MB, read_text_file

REDRAW_SECONDS = 0.2
"""Longest time between two looks at whether the visitor has pressed Stop."""


def draw(client: EndpointClient, task: Task) -> None:
    """Draw everything below the status."""
    session: Session = st.session_state.setdefault("session", Session())
    left, right = st.columns(2, gap="large")
    with left:
        draw_fields(session)
    # Two places, so that the last answer does not stay under the one that arrives.
    arriving, complete = right.empty(), right.empty()
    draw_history(session)
    announce(spoken(session))
    if session.running:
        receive(client, session, session.running, arriving.container())
    elif session.shown:
        with complete.container():
            draw_exchange(client, session.shown)
    else:
        complete.html(parts.welcome())


def draw_fields(session: Session) -> None:
    """Draw examples, file, context, question and the button."""
    busy = session.running is not None
    with st.container(horizontal=True, gap="xsmall"):
        for example in EXAMPLES:
            st.button(example.name, on_click=take_example, args=(session, example), disabled=busy)
        with st.popover("Text file", icon=":material/upload_file:", key=f"popover-{session.files}"):
            st.file_uploader(
                f"A .txt or .md file in UTF-8, at most {LARGEST_MB} MB",
                type=["txt", "md"],
                max_upload_size=UPLOAD_MB,
                key=f"file-{session.files}",
                on_change=take_file,
                args=(session,),
            )
    # Only buttons are disabled while an answer arrives: Streamlit empties a disabled field.
    with st.form("ask", border=False):
        st.text_area("Context", key="context", height=280, placeholder="The text that holds the answer")
        st.text_input("Question", key="question", placeholder="What do you want to know?")
        if session.problem:
            st.html(parts.notice(session.problem))
        st.form_submit_button(
            "Generate Response", type="primary", on_click=start, args=(session,), disabled=busy, width="stretch"
        )


def receive(
    client: EndpointClient, session: Session, exchange: Exchange, pane: st.delta_generator.DeltaGenerator
) -> None:
    """Show the answer as it arrives; Stop and every other action of the visitor ends this at the next redraw."""
    exchange.text = ""
    with pane:
        spot = st.empty()
        st.button("Stop", on_click=session.finish)
    began = time.monotonic()
    with closing(Reception(client.generate(exchange.question, exchange.context, session.id))) as reception:
        while not reception.done:
            exchange.text += reception.wait(REDRAW_SECONDS)
            spot.html(parts.arriving(exchange.text, time.monotonic() - began))
    exchange.answer, exchange.problem = reception.answer, reception.problem
    session.finish()
    st.rerun()


def draw_exchange(client: EndpointClient, exchange: Exchange) -> None:
    """Draw what came of a question."""
    answer = exchange.answer
    if answer is None:
        if exchange.problem is None:
            stopped = Problem("stopped", "Stopped", advice="Press Generate Response to ask again.")
            st.html(parts.notice(stopped, kind="neutral"))
        else:
            st.html(parts.notice(exchange.problem))
        if exchange.text:
            st.html(parts.stopped(exchange.text))
        return
    st.html(parts.answered(answer))
    if answer.supported:
        copy_button(answer.response.strip(), key=f"copy-{exchange.id}")
    if evidence := parts.evidence(exchange.context, answer):
        st.html(evidence)
    st.html(parts.facts(answer))
    if answer.trace_id:
        draw_feedback(client, exchange, answer.trace_id)


def draw_feedback(client: EndpointClient, exchange: Exchange, trace_id: str) -> None:
    """Draw thumbs, and once one is chosen, correction, comment and consent."""
    st.header("Is this right?", anchor=False)
    if exchange.receipt:
        st.html(parts.notice(Problem("thanks", "Feedback sent", said=exchange.receipt.detail), kind="good"))
        return
    thumb = st.feedback("thumbs", key=f"thumb-{exchange.id}")
    if thumb is None:
        return
    with st.form(f"feedback-{exchange.id}", border=False):
        correction = st.text_area("Correct answer (optional)", key=f"correction-{exchange.id}", height=80)
        comment = st.text_input("Comment (optional)", key=f"comment-{exchange.id}")
        consent = st.checkbox(
            "Question, context and answer may be used to train the model", key=f"consent-{exchange.id}"
        )
        if exchange.feedback_problem:
            st.html(parts.notice(exchange.feedback_problem))
        sent = st.form_submit_button("Send feedback")
    if not sent:
        return
    feedback = Feedback(
        trace_id=trace_id,
        score=float(thumb),
        correction=correction.strip() or None,
        comment=comment.strip() or None,
        consent=consent,
        question=exchange.question,
        context=exchange.context,
        response=exchange.answer.response if exchange.answer else "",
    )
    try:
        exchange.receipt = client.send_feedback(feedback)
    except Problem as problem:
        exchange.feedback_problem = problem
    st.rerun()


def draw_history(session: Session) -> None:
    """List the questions of this session, newest first; a click brings one back."""
    if not session.exchanges:
        return
    st.header("Your questions", anchor=False)
    rows = st.container(gap=None)
    for exchange in reversed(session.exchanges):
        latency = exchange.answer.latency_seconds if exchange.answer else None
        took = f" · {latency:.2f} s" if latency is not None else ""
        rows.button(
            f"**{parts.in_label(exchange.question)}** — {parts.in_label(exchange.outcome)}{took}",
            key=f"past-{exchange.id}",
            type="tertiary",
            width="stretch",
            on_click=bring_back,
            args=(session, exchange),
            disabled=session.running is not None,
        )


def start(session: Session) -> None:
    """Begin the question in the fields."""
    session.ask(st.session_state.question, st.session_state.context)


def take_example(session: Session, example: Example) -> None:
    """Fill the fields."""
    st.session_state.context, st.session_state.question = example.context, example.question
    session.problem = None


def take_file(session: Session) -> None:
    """Put the chosen file into the context; a file that cannot be read leaves the context as it is."""
    file = st.session_state[f"file-{session.files}"]
    if file is None:
        return
    # A new uploader each time: browsers do not report that the same file was chosen again.
    session.files += 1
    try:
        st.session_state.context = read_text_file(file.name, file.getvalue())
        session.problem = None
    except Problem as problem:
        session.problem = problem


def bring_back(session: Session, exchange: Exchange) -> None:
    """Show an earlier question with its answer."""
    st.session_state.context, st.session_state.question = exchange.context, exchange.question
    session.shown, session.problem = exchange, None


def spoken(session: Session) -> str:
    """What a screen reader says after this action; problems are read out where they stand."""
    if session.running:
        return "Answering"
    if session.shown is None or session.shown.answer is None:
        return ""
    answer = session.shown.answer
    return f"Answer: {answer.response}" if answer.supported else "The context does not hold the answer."
