"""The page of a model of conversations: what has been said, and a field for the next message."""

from dataclasses import dataclass, field
from html import escape

import streamlit as st

from ui import parts
from ui.client import EndpointClient
from ui.contract import Task
from ui.problems import Problem


@dataclass
class Conversation:
    """What one visitor and the model have said, for as long as the browser tab is open."""

    turns: list[dict[str, str]] = field(default_factory=list)
    """`role` and `content`, the oldest first; the last one waits for an answer while it is the visitor's."""
    problem: Problem | None = None
    """Why it got none."""

    @property
    def waits(self) -> bool:
        """The visitor has spoken last."""
        return bool(self.turns) and self.turns[-1]["role"] == "user"


def draw(client: EndpointClient, task: Task) -> None:
    """Draw everything below the status."""
    talk: Conversation = st.session_state.setdefault("conversation", Conversation())
    # Only where nobody waits: Streamlit runs one action of a visitor at a time.
    if (written := st.chat_input("Message", disabled=talk.waits and talk.problem is None)) and written.strip():
        talk.turns = [*(talk.turns[:-1] if talk.waits else talk.turns), {"role": "user", "content": written}]
        talk.problem = None
    if not talk.turns:
        st.html('<div class="welcome"><p>The conversation appears here.</p></div>')
    for turn in talk.turns:
        draw_turn(turn)
    if talk.waits and talk.problem is None:
        answer(client, talk)
    if talk.problem:
        st.html(parts.notice(talk.problem))
        st.button("Try again", on_click=try_again, args=(talk,))
    if talk.turns:
        st.button("New conversation", on_click=forget)


def answer(client: EndpointClient, talk: Conversation) -> None:
    """Ask for the next turn and draw it."""
    try:
        with st.spinner("The model answers"):
            said = client.converse(talk.turns)
    except Problem as problem:
        talk.problem = problem
        return
    talk.turns = [*talk.turns, {"role": "assistant", "content": said}]
    draw_turn(talk.turns[-1])


def draw_turn(turn: dict[str, str]) -> None:
    """Draw what one side said, as plain text."""
    with st.chat_message(turn["role"]):
        said = escape(turn["content"]) or "(nothing)"
        st.html(f'<p class="said" dir="auto" style="white-space: pre-wrap">{said}</p>')


def try_again(talk: Conversation) -> None:
    """Send the last message once more."""
    talk.problem = None


def forget() -> None:
    """Begin anew."""
    st.session_state.conversation = Conversation()
