"""Which failures are an outage, and what each is called in metrics, traces and answers."""

from typing import Literal

from llm_endpoint.errors import EndpointError, NotReady, RequestError, RequestTimeout, TooManyRequests

Reason = Literal["away", "busy", "failed", "slow", "timeout", "cut", "stalled", "open", "full"]
"""away: refused, reset or 503; busy: 429; failed: another 5xx, or a key or model that is refused; slow: no first token
in time; timeout: no end in time; cut, stalled: broken off or silent in the middle; open: left alone after failures;
full: no place in its queue here."""


def is_callers(error: EndpointError) -> bool:
    """The request itself is wrong, so that no other model is asked."""
    return isinstance(error, RequestError) and not isinstance(error, TooManyRequests)


def reason_of(error: EndpointError) -> Reason:
    """What a failure before the first token is called."""
    if isinstance(error, TooManyRequests):
        return "busy"
    if isinstance(error, NotReady):
        return "away"
    return "timeout" if isinstance(error, RequestTimeout) else "failed"


def asked_wait(error: EndpointError | None) -> float:
    """Seconds for which a service asked to be left alone; 0 where it asked for nothing."""
    if not isinstance(error, TooManyRequests) or error.retry_after in (None, TooManyRequests.retry_after):
        return 0.0
    return float(error.retry_after or 0)
