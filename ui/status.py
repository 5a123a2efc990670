"""How the endpoint is: asked on its own beat, and shown in a line."""

import math
import time

import streamlit as st

from ui import parts
from ui.client import EndpointClient
from ui.contract import Health

LOOK_AGAIN_SECONDS = {"ready": 30.0, "warming": 1.5, "stopping": 3.0, "failed": 10.0, "unreachable": 3.0}


def look(client: EndpointClient) -> Health:
    """Say how the endpoint was at the last look, and look again when that is long ago."""
    before: Health | None = st.session_state.get("health")
    interval = LOOK_AGAIN_SECONDS[before.status if before else "warming"]
    # Not with every click: an endpoint that hangs must not slow the page down.
    if before is None or time.monotonic() - st.session_state.get("looked", -math.inf) > interval / 2:
        st.session_state.health = client.health()
        st.session_state.looked = time.monotonic()
    found: Health = st.session_state.health
    return found


def show_status(client: EndpointClient) -> None:
    """Say how the endpoint is, and keep looking: often while it is not ready, seldom when it is."""
    before = look(client)

    def line() -> None:
        health = look(client)
        st.html(parts.status(health))
        if (health.status, health.model, health.revision) != (before.status, before.model, before.revision):
            st.rerun()

    st.fragment(line, run_every=LOOK_AGAIN_SECONDS[before.status])()
