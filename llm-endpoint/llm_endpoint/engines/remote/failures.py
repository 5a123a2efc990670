"""What an OpenAI-compatible server's refusals and failures mean to the person who asked."""

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from llm_endpoint.errors import EndpointError, InvalidInput, ModelError, NotReady, TooManyRequests, UpstreamError

LONGEST_QUOTE = 300
"""Characters of the server's own words that are passed on."""


class Passing(Exception):
    """A failure that a second try may not meet."""

    def __init__(self, reason: EndpointError) -> None:
        self.reason = reason


class ParameterRefused(Exception):
    """The server does not know a parameter that can be left out or renamed."""

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names


def translate_error(error: Any, host: str, key: str, options: dict[str, Any]) -> Exception:
    """Say what an error of the openai client means.

    Args:
        error: An `openai.APIError`.
        host: Of the server, for the message.
        key: The API key, which no message may hold.
        options: What was sent.

    Returns:
        An EndpointError, or one of the exceptions above where the request may be sent again.
    """
    import openai

    server = f"the model server at {host}"
    if isinstance(error, openai.APITimeoutError):
        return Passing(NotReady(f"{server} does not take connections or has fallen silent. Check that it runs."))
    if isinstance(error, openai.APIConnectionError):
        return Passing(NotReady(f"{server} cannot be reached. Check that it runs."))
    if not isinstance(error, openai.APIStatusError):
        return UpstreamError(f"{server} broke the answer off with an error.")
    status = error.status_code
    if status in (400, 422):
        refused = _refused_parameters(error, options)
        return ParameterRefused(refused) if refused else InvalidInput(f"{server} refused: {_quote(error, key)}")
    if status == 413:
        return InvalidInput(f"{server} refused the prompt as too large. Shorten the context.")
    if status in (401, 403):
        return UpstreamError(f"{server} refused the API key ({status}). The operator sets OPENAI_API_KEY.")
    if status == 404:
        return ModelError(f"{server} has no model {options['model']!r} or no such path (404). Check OPENAI_MODEL.")
    if status == 429:
        busy = TooManyRequests(f"{server} takes no more requests at the moment.")
        busy.retry_after = _retry_after(error.response.headers.get("Retry-After"))
        return busy
    if status == 503:
        return Passing(NotReady(f"{server} is not ready (503). Try again in a few seconds."))
    failed = UpstreamError(f"{server} failed ({status}).")
    return Passing(failed) if status >= 500 else failed


def _refused_parameters(error: Any, options: dict[str, Any]) -> frozenset[str]:
    said = str(error.body)
    names = {name for name in options.get("extra_body") or () if name in said}
    if "max_tokens" in options and "max_completion_tokens" in said:
        names.add("max_tokens")
    return frozenset(names)


def _quote(error: Any, key: str) -> str:
    body = error.body if isinstance(error.body, dict) else {}
    said = " ".join(str(body.get("message") or f"status {error.status_code}").split())
    said = said.replace(key, "***") if key else said
    return said if len(said) <= LONGEST_QUOTE else said[:LONGEST_QUOTE] + "..."


def _retry_after(header: str | None) -> int:
    """Seconds that a server asks for, in either form of the header."""
    try:
        seconds = float(header or "")
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(header or "") - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return TooManyRequests.retry_after
    return max(1, math.ceil(seconds)) if math.isfinite(seconds) else TooManyRequests.retry_after
