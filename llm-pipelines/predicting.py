"""Asking an endpoint of this machine for a prediction."""

from typing import Any

from components.core.deployment.endpoint_documents import endpoint_name
from components.core.deployment.local_servers import HERE, ServingError, recorded_port
from components.core.settings import Settings

_INPUTS = ("text", "text_pair", "tokens")
_SECONDS = 60.0


def ask_endpoint(name: str, row: dict[str, Any], settings: Settings) -> tuple[str, dict[str, Any]]:
    """Send the inputs of a row.

    Returns:
        The endpoint's address, and its prediction.

    Raises:
        ServingError: If it does not answer.
    """
    import httpx

    own_name = endpoint_name(name)
    port = recorded_port(settings.whetstone_home.resolve() / "serving" / "endpoints" / f"{own_name}.json")
    if port is None:
        raise ServingError(f"no endpoint {own_name} runs here. Run again without the cache, or look at its log.")
    address = f"http://{HERE}:{port}"
    instance = {key: row[key] for key in _INPUTS if key in row}
    try:
        models = httpx.get(f"{address}/v1/models", timeout=_SECONDS).json()["models"]
        path = f"{address}/v1/models/{models[0]}:predict"
        response = httpx.post(path, json={"instances": [instance]}, timeout=_SECONDS)
        content = response.json()
    except (httpx.HTTPError, ValueError, LookupError) as error:
        raise ServingError(f"the endpoint at {address} does not answer: {error}. Look at its log.") from error
    if response.status_code != 200:
        raise ServingError(f"the endpoint answered {response.status_code}: {content.get('error')}")
    return address, dict(content["predictions"][0])
