"""What goes wrong between us and a service LLM: what is worth another try, after how long, and how it is told."""

import email.utils
import random
import re
import time
from collections.abc import Iterator, Mapping

from components.core.errors import ServiceLLMError

LONGEST_WAIT_SECONDS = 120.0
"""No wait is longer, whatever a service asks for: the call is then simply tried again."""
_FIRST_WAIT_SECONDS = 1.0
_MESSAGE_CHARACTERS = 300
_OUT_OF_MONEY = ("insufficient_quota", "billing", "credit balance")


class ServiceUnavailable(ServiceLLMError):
    """The service did not answer, try after try; the same call may succeed later."""


class ServiceRefused(ServiceLLMError):
    """The service lets us ask nothing at all: key, model, address or account; trying again is of no use."""


class MalformedReplies(ServiceLLMError):
    """The service answered, and never with what was asked for; what those answers cost."""

    def __init__(self, message: str, *, input_tokens: int, output_tokens: int, calls: int) -> None:
        super().__init__(message)
        self.input_tokens, self.output_tokens, self.calls = input_tokens, output_tokens, calls


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came from; the clients wrap some several times."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def http_status(error: BaseException) -> int | None:
    """Status of the answer behind an error, None where there was none."""
    for each in chain(error):
        response = getattr(each, "response", None)
        for status in (getattr(response, "status_code", None), getattr(response, "status", None)):
            if isinstance(status, int):
                return status
        if isinstance(code := getattr(each, "code", None), int):
            return code
    return None


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed a little later."""
    status = http_status(error)
    if status == 429:
        return not _out_of_money(error)
    if status is not None:
        return status >= 500 or status in (408, 409, 425)
    return any(isinstance(each, OSError) or _is_connection_trouble(each) for each in chain(error))


def _is_connection_trouble(error: BaseException) -> bool:
    """By the names of the clients' errors: each client has its own httpx, or aiohttp."""
    names = {base.__name__ for base in type(error).__mro__}
    wanted = {"TransportError", "APIConnectionError", "ClientConnectionError", "ClientPayloadError", "JSONDecodeError"}
    return bool(names & wanted)


def retry_after(error: BaseException, now: float | None = None) -> float | None:
    """Seconds that the service asks us to wait: Retry-After, in seconds or as a date, or Gemini's RetryInfo."""
    for each in chain(error):
        headers: Mapping[str, str] = getattr(getattr(each, "response", None), "headers", None) or {}
        text = headers.get("retry-after") or headers.get("Retry-After")
        if text and (seconds := _seconds(text, time.time() if now is None else now)) is not None:
            return seconds
    told = re.search(r"retryDelay['\"]?:\s*['\"](\d+(?:\.\d+)?)s", " ".join(str(each) for each in chain(error)))
    return float(told[1]) if told else None


def _seconds(text: str, now: float) -> float | None:
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except ValueError:
        return None


def wait_seconds(error: BaseException, tries: int, dice: random.Random) -> float:
    """Wait after a failed try: what the service asks for and a bit more, else twice as long each time, with jitter."""
    asked = retry_after(error)
    if asked is not None:
        # all that were refused together must not come back together
        return min(asked * (1 + 0.1 * dice.random()), LONGEST_WAIT_SECONDS)
    return min(_FIRST_WAIT_SECONDS * 2.0 ** (tries - 1), LONGEST_WAIT_SECONDS) * (0.5 + 0.5 * dice.random())


def reason(error: BaseException) -> str:
    """An error in two words: its status, or the name of its class."""
    status = http_status(error)
    return f"HTTP {status}" if status else type(error).__name__


def as_user_error(error: BaseException, service: str, tries: int, secrets: tuple[str, ...]) -> ServiceLLMError:
    """The error that users see: what, where and what to do; never a key, which services like to repeat."""
    status = http_status(error)
    what = _message(error, secrets)
    told = f"{service} {'answered ' + str(status) if status else 'did not answer'}"
    if is_transient(error):
        again = f"{told} ({what}), {tries} {'try' if tries == 1 else 'tries'} in all"
        return ServiceUnavailable(f"{again}. Try again later, or raise max_retries or timeout_seconds.")
    # Google says 400 where others say 401
    if status in (401, 403) or (status == 400 and "api key" in what.lower()):
        return ServiceRefused(f"{told}: {what}. Check the API key in the environment and what it may use.")
    if status in (404, 405):
        return ServiceRefused(f"{told}: {what}. Check the model's name and base_url.")
    if status in (402, 429):
        return ServiceRefused(f"{told}: {what}. The account has nothing left to spend; look at its billing page.")
    return ServiceLLMError(f"{told}: {what}.")


def _out_of_money(error: BaseException) -> bool:
    told = " ".join(str(each) for each in chain(error)).lower()
    return any(words in told for words in _OUT_OF_MONEY)


def _message(error: BaseException, secrets: tuple[str, ...]) -> str:
    """The service's own words where it gave some, else the client's."""
    given = next((text for each in chain(error) if (text := _given(each))), str(error))
    words = " ".join(given.split()) or type(error).__name__
    for secret in secrets:
        words = words.replace(secret, "[key]")
    return words.rstrip(".")[:_MESSAGE_CHARACTERS]


def _given(error: BaseException) -> str | None:
    for body in (getattr(error, "body", None), getattr(error, "details", None)):
        inner = body.get("error", body) if isinstance(body, dict) else None
        if isinstance(inner, dict) and isinstance(inner.get("message"), str):
            return str(inner["message"])
    return None
