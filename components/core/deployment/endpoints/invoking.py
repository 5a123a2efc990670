"""One request to an endpoint, from a file, and the answer that the file expects."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.deployment.endpoints.forwarding import DEPLOYMENT_HEADERS
from components.core.deployment.endpoints.keys import shown_keys
from components.core.deployment.endpoints.record import EndpointFolder
from components.core.deployment.endpoints.status import address_of
from components.core.deployment.local_servers import ServingError
from components.core.errors import DataError
from components.core.settings import Settings

SCORE_PATH = "/score"
TRUTH_FIELD = "ground_truth"
_ANSWER_SECONDS = 600.0


@dataclass(frozen=True)
class Answered:
    """What came back."""

    text: str
    """The raw response."""
    deployment: str
    """That answered."""


def read_request(path: Path) -> tuple[dict[str, Any], str | None]:
    """Read a request and the answer that is expected of it.

    Returns:
        The request as it is sent, and `ground_truth` or else the trailing assistant turn. The first is ours and is
        taken out; the turn stays, as /score tolerates it and says so.

    Raises:
        DataError: If the file is missing or no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"the request file {path} cannot be read ({error.strerror}). Name a JSON file.") from error
    except ValueError as error:
        raise DataError(f"the request file {path} is not JSON ({error}). Write one request as one object.") from error
    if not isinstance(content, dict):
        raise DataError(f"the request file {path} holds no JSON object. Write one request as one object.")
    given = content.pop(TRUTH_FIELD, None)
    if given is not None:
        return content, given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    return content, _trailing_answer(content)


def _trailing_answer(request: dict[str, Any]) -> str | None:
    inside = request.get("input_data")
    messages = inside.get("input_string") if isinstance(inside, dict) else request.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    if isinstance(last, dict) and last.get("role") == "assistant":
        return str(last.get("content", ""))
    return None


def invoke(
    endpoint: str,
    request: dict[str, Any],
    settings: Settings,
    deployment: str | None = None,
    path: str = SCORE_PATH,
    key: str | None = None,
) -> Answered:
    """Send one request to the front.

    Args:
        endpoint: Its name.
        request: The body.
        settings: Where its record is.
        deployment: Answers instead of the one that the split would choose.
        path: Of the request.
        key: Of the caller; the endpoint's own primary key when left out.

    Raises:
        ConfigError: If there is no such endpoint, or no key.
        ServingError: If the answer is not a success; with what it says.
    """
    import httpx

    folder = EndpointFolder(settings.whetstone_home, endpoint)
    address = address_of(folder.read())
    headers = {"Authorization": f"Bearer {key or shown_keys(folder.path)['primary']}"}
    if deployment is not None:
        headers[DEPLOYMENT_HEADERS[0]] = deployment
    try:
        answer = httpx.post(address + path, json=request, headers=headers, timeout=_ANSWER_SECONDS, trust_env=False)
    except httpx.HTTPError as error:
        raise ServingError(f"the endpoint {endpoint} does not answer ({error}). Look at `status`.") from error
    if answer.status_code != 200:
        raise ServingError(f"the endpoint {endpoint} answered {answer.status_code} to {path}: {answer.text.strip()}")
    return Answered(answer.text, answer.headers.get(DEPLOYMENT_HEADERS[0], ""))
