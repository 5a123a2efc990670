"""What goes wrong between us and a service LLM: how long to wait, and how it is told."""

import random
from email.utils import formatdate
from types import SimpleNamespace

import pytest

from components.core.service_llm import ServiceRefused, ServiceUnavailable
from components.core.service_llm.failures import (
    LONGEST_WAIT_SECONDS,
    as_user_error,
    is_transient,
    retry_after,
    wait_seconds,
)

NOW = 1_800_000_000.0


class Answered(Exception):
    """An error as the clients raise it: with the response behind it."""

    def __init__(self, status: int, message: str = "no", **headers: str) -> None:
        super().__init__(message)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self.response = SimpleNamespace(status_code=status, headers=names)


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (Answered(429, retry_after="7"), 7),
        (Answered(429, retry_after="0.5"), 0.5),
        (Answered(429, retry_after=formatdate(NOW + 30, usegmt=True)), 30),
        (Answered(429, retry_after=formatdate(NOW - 30, usegmt=True)), 0),
        (Answered(429, "{'@type': 'RetryInfo', 'retryDelay': '12s'}"), 12),
        (Answered(429, retry_after="soon"), None),
        (Answered(503), None),
    ],
)
def test_what_a_service_asks_for_is_understood(error, seconds):
    assert retry_after(error, NOW) == seconds


def test_the_wait_grows_is_never_longer_than_two_minutes_and_never_shorter_than_asked_for():
    dice = random.Random(1)
    waits = [wait_seconds(Answered(503), tries, dice) for tries in range(1, 20)]
    assert 0.5 <= waits[0] <= 1
    assert 4 <= waits[3] <= 8
    assert max(waits) <= LONGEST_WAIT_SECONDS
    assert 7 <= wait_seconds(Answered(429, retry_after="7"), 1, dice) <= 7.7
    assert wait_seconds(Answered(429, retry_after="9999"), 1, dice) == LONGEST_WAIT_SECONDS


@pytest.mark.parametrize(
    ("error", "again"),
    [
        *((Answered(status), True) for status in (408, 429, 500, 502, 503, 529)),
        *((Answered(status), False) for status in (400, 401, 403, 404, 422)),
        (Answered(429, "insufficient_quota"), False),
        (ConnectionRefusedError(), True),
        (TimeoutError(), True),
        (KeyError("choices"), False),
    ],
    ids=str,
)
def test_only_what_may_pass_is_tried_again(error, again):
    assert is_transient(error) == again


def test_a_wrong_key_ends_everything_even_where_it_is_called_a_bad_request():
    error = as_user_error(Answered(400, "API key not valid: sk-12345"), "gemini/m", 1, ("sk-12345",))
    assert isinstance(error, ServiceRefused)
    assert str(error) == (
        "gemini/m answered 400: API key not valid: [key]. Check the API key in the environment and what it may use."
    )
    assert isinstance(as_user_error(TimeoutError(), "gemini/m", 3, ()), ServiceUnavailable)
