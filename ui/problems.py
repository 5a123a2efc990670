"""What can go wrong between the page and the endpoint, in words for the person who asked."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

LONGEST_QUOTE = 300
"""Characters of another server's message that are shown."""


class Problem(Exception):
    """What happened, what the other side said about it, and what to do."""

    def __init__(self, kind: str, title: str, *, said: str = "", advice: str = "") -> None:
        super().__init__(" ".join(part for part in (f"{title}.", said, advice) if part))
        self.kind = kind
        self.title = title
        self.said = said
        self.advice = advice


def refused(
    status: int, headers: Mapping[str, str], body: bytes, *, address: str, has_key: bool, asked: str = "context"
) -> Problem:
    """Explain an answer with an error status.

    Args:
        status: HTTP status.
        headers: Of the answer, found by lower-case name.
        body: Beginning of the answer: JSON of the endpoint, or text or HTML of a proxy.
        address: Where the request went, for the eye.
        has_key: Whether a key was sent.
        asked: What the visitor gave: a context (with a question), or a text.
    """
    said = quoted(body)
    again = try_again(headers.get("retry-after"))
    if 300 <= status < 400:
        return Problem(
            "login",
            f"{address} leads to another page ({status})",
            advice="This is probably a login. Set API_URL to the endpoint's address inside the cluster.",
        )
    if status == 401:
        advice = (
            "API_KEY of this page is not one of the endpoint's keys: set it to the primary or the secondary key"
            if has_key
            else "Set API_KEY in the environment of this page to one of the endpoint's keys"
        )
        return Problem("unauthorized", "The endpoint asks for a valid API key", advice=f"{advice}, and restart it.")
    given = "the context or the question" if asked == "context" else f"the {asked}"
    shorter = f"Try again, or ask with a shorter {asked}."
    known = {
        400: ("rejected", "The endpoint did not accept this", f"Change {given} and try again."),
        403: (
            "forbidden",
            "The endpoint lets this page not in (403)",
            "Its access policy (Istio AuthorizationPolicy) must allow the service account of the page.",
        ),
        404: ("not_found", "The endpoint does not know this", f"Check API_URL: it is {address}."),
        408: ("timeout", "The answer took too long", shorter),
        413: ("too_large", f"The {asked} is too long for the endpoint", "Shorten it and try again."),
        429: ("busy", "The endpoint is busy", again),
        502: (
            "upstream",
            "A proxy got no answer from the endpoint (502)",
            "See whether it is running, then try again.",
        ),
        503: ("unavailable", "The endpoint is not ready", again),
        504: ("timeout", "The answer took too long", shorter),
    }
    kind, title, advice = known.get(
        status,
        ("failed", f"The endpoint failed ({status})", "Try again; the endpoint's log names the cause."),
    )
    return Problem(kind, title, said=said, advice=advice)


def quoted(body: bytes) -> str:
    """Give the readable message in an error's body; empty for HTML and for what is no text."""
    text = body.decode("utf-8", errors="replace").strip()
    message: Any = text
    try:
        message = json.loads(text)
    except ValueError:
        if text.startswith("<") or "<html" in text.lower():
            return ""
    for key in ("error", "message", "detail"):
        if isinstance(message, dict) and key in message:
            message = message[key]
    if not isinstance(message, str) or "\ufffd" in message:
        return ""
    return sentence(message)


def sentence(text: str) -> str:
    """Make one line of at most LONGEST_QUOTE characters, with a capital and a full stop."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(line) > LONGEST_QUOTE:
        line = line[: LONGEST_QUOTE - 1] + "…"
    line = line[:1].upper() + line[1:]
    return line if not line or line[-1] in ".!?…。！？" else f"{line}."


def try_again(retry_after: str | None) -> str:
    """Say when, from a Retry-After header (seconds or a date)."""
    seconds = _seconds(retry_after)
    return "Try again in a moment." if seconds is None else f"Try again in {seconds} s."


def _seconds(retry_after: str | None) -> int | None:
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return max(1, int(text[:9]))
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    left = (when if when.tzinfo else when.replace(tzinfo=UTC)) - datetime.now(UTC)
    return max(1, math.ceil(left.total_seconds()))
