"""What goes wrong between us and the Hub: what is worth another try, and how it is told."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from components.core.errors import PlatformError, RegistryError
from components.core.settings import Settings

logger = logging.getLogger(__name__)

NEW_TOKEN = "create a token with write permission at {endpoint}/settings/tokens and put it into HF_TOKEN"
_T = TypeVar("_T")

RETRY_SECONDS: tuple[float, ...] = (1.0, 4.0, 10.0)
"""Waits before the second, third and fourth try of a call that met a server error or a broken connection."""


def with_retries(call: Callable[[], _T], only: str = "") -> _T:
    """Call again after a server error or a broken connection of a request whose address contains `only`."""
    for wait in RETRY_SECONDS:
        try:
            return call()
        except Exception as error:
            if not _is_transient(error) or only not in _address(error):
                raise
            logger.warning("The Hub did not answer as it should (%s); trying again in %g s", cause(error), wait)
            time.sleep(wait)
    return call()


def http_status(error: BaseException | None) -> int | None:
    """Status code of the Hub's answer behind an error, None without one; the client wraps some errors several times."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            return int(response.status_code)
        error = error.__cause__
    return None


def _address(error: BaseException | None) -> str:
    """Address of the request behind an error, or nothing."""
    while error is not None:
        request = getattr(error, "_request", None) or getattr(getattr(error, "response", None), "_request", None)
        if request is not None:
            return str(request.url)
        error = error.__cause__
    return ""


def _is_transient(error: BaseException) -> bool:
    import httpx

    status = http_status(error)
    if status is not None:
        return status >= 500 or status in (408, 429)
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, httpx.TransportError):
            return True
        chain = chain.__cause__
    return False


def cause(error: BaseException) -> str:
    """An error in two words: its status, or the name of its class."""
    status = http_status(error)
    return f"HTTP {status}" if status is not None else type(error).__name__


@contextmanager
def clear_errors(repo: str, settings: Settings, action: str) -> Iterator[None]:
    """Turn whatever the Hub's client raises into one RegistryError with the remedy; never with the token."""
    try:
        yield
    except PlatformError:
        raise
    except Exception as error:
        raise RegistryError(f"cannot {action}: {_explain(error, repo, settings)}") from error


def _explain(error: Exception, repo: str, settings: Settings) -> str:
    status, endpoint = http_status(error), settings.hf_endpoint
    remedy = NEW_TOKEN.format(endpoint=endpoint)
    if status == 401:
        return f"the Hub does not know HF_TOKEN (401). It may be mistyped, expired or revoked: {remedy}."
    if status == 403:
        return f"HF_TOKEN can read but not write {repo} (403): {remedy}."
    if status == 404:
        return f"{repo} cannot be found or is hidden from HF_TOKEN (404). Check HF_REPO and the token's permissions."
    if status in (409, 412):
        return f"somebody else changed {repo} meanwhile ({status}). Run the upload again."
    if status == 413:
        return f"the Hub says that the upload is too large (413). Check the storage quota of {repo.split('/')[0]}."
    if status == 429:
        return "the Hub says that there were too many requests (429). Wait some minutes and run the upload again."
    if status is not None and status >= 500:
        return f"the Hub has a problem ({status}) and still had it after several tries. Run the upload again later."
    if status is not None:
        return f"the Hub refused ({status}). Check HF_REPO, HF_TOKEN and the model card's fields in `registry`."
    if _is_transient(error):
        return (
            f"{endpoint} cannot be reached ({cause(error)}). Check the network, the proxy and HF_ENDPOINT, "
            "then run the upload again."
        )
    return f"{type(error).__name__}: {without_secret(str(error), settings)}. Run the upload again."


def without_secret(text: str, settings: Settings) -> str:
    """A text from outside as one line, with the token blotted out."""
    line = " ".join(text.split())
    if settings.hf_token is not None:
        line = line.replace(settings.hf_token.get_secret_value(), "***")
    return line
