"""Asking an endpoint what it predicts, and for a prediction."""

import json
from typing import Any

from components.core.deployment.local_servers import ServingError

_INPUTS = ("text", "text_pair", "tokens")
_SECONDS = 60.0


def describe_endpoint(address: str) -> dict[str, Any]:
    """What the model behind an endpoint does: `task`, `labels`, `pair` and more.

    Raises:
        ServingError: If the endpoint does not answer.
    """
    import httpx

    try:
        return dict(httpx.get(f"{address}/task", timeout=_SECONDS).raise_for_status().json())
    except (httpx.HTTPError, ValueError) as error:
        raise ServingError(f"the endpoint at {address} does not answer: {error}. Look at its log.") from error


def in_short(prediction: dict[str, Any]) -> str:
    """A prediction in one line, without the probability of every label."""
    kept = {key: value for key, value in prediction.items() if key != "probabilities"}
    return json.dumps(kept, ensure_ascii=False)[:500]


def ask_endpoint(address: str, row: dict[str, Any]) -> dict[str, Any]:
    """Send the inputs of a row, and give back the prediction.

    Raises:
        ServingError: If the endpoint does not answer.
    """
    import httpx

    instance = {key: row[key] for key in _INPUTS if key in row}
    try:
        name = httpx.get(f"{address}/v1/models", timeout=_SECONDS).json()["models"][0]
        body = {"instances": [instance]}
        response = httpx.post(f"{address}/v1/models/{name}:predict", json=body, timeout=_SECONDS)
        content = response.json()
    except (httpx.HTTPError, ValueError, LookupError) as error:
        raise ServingError(f"the endpoint at {address} does not answer: {error}. Look at its log.") from error
    if response.status_code != 200:
        raise ServingError(f"the endpoint answered {response.status_code}: {content.get('error')}")
    return dict(content["predictions"][0])
