"""The secrets of the cluster: what their keys are, where their values come from, and how they are put in place.

Values go from the environment into the request's body and nowhere else.
"""

import base64
import os
import secrets
from collections.abc import Mapping

from components.core.deployment.kubernetes_api import Applied, Cluster, Object
from components.core.errors import ConfigError
from components.core.settings import SERVICE_LLM_VARIABLES

API_SECRET = "llm-api-secret"
"""Hub token and tracing of the endpoint."""
KEYS_SECRET = "llm-api-keys"
"""Keys that the endpoint's callers show; a mounted folder of the endpoint, so the keys' names are file names."""

HUB_VARIABLES = {"HF_TOKEN": "token", "HF_REPO": "repo"}
"""Environment variable to the secret's key."""
API_VARIABLES = {
    "HF_TOKEN": "hf_token",
    "LANGCHAIN_TRACING_V2": "langchain_tracing_v2",
    "LANGCHAIN_ENDPOINT": "langchain_endpoint",
    "LANGCHAIN_API_KEY": "langchain_api_key",
    "LANGCHAIN_PROJECT": "langchain_project",
}
_OTHER_NAMES = {
    "LANGCHAIN_TRACING_V2": "LANGSMITH_TRACING",
    "LANGCHAIN_ENDPOINT": "LANGSMITH_ENDPOINT",
    "LANGCHAIN_API_KEY": "LANGSMITH_API_KEY",
    "LANGCHAIN_PROJECT": "LANGSMITH_PROJECT",
}


class MissingVariable(ConfigError):
    """A variable that a secret is made from is not set."""

    def __init__(self, name: str) -> None:
        super().__init__(f"env var {name} is not set. Please set it and try again.")
        self.name = name


def read_hub_values(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Values of `huggingface-secret` by key.

    Raises:
        MissingVariable: For HF_TOKEN or HF_REPO.
    """
    return {key: _value(name, environment) for name, key in HUB_VARIABLES.items()}


def read_service_values(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Values of `service-llm-secret` by key: the API keys of service LLMs that are set.

    Raises:
        ConfigError: If none is.
    """
    found = {name.lower(): _value(name, environment, required=False) for name in SERVICE_LLM_VARIABLES}
    kept = {key: value for key, value in found.items() if value}
    if not kept:
        raise ConfigError(f"none of {', '.join(SERVICE_LLM_VARIABLES)} is set. Set the key of your service LLM.")
    return kept


def read_api_values(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Values of `llm-api-secret` by key; with tracing off, what it alone needs may be missing.

    Raises:
        MissingVariable: For the first variable that is not set (LANGSMITH_* names count, too).
    """
    names = list(API_VARIABLES)
    values = {API_VARIABLES[name]: _value(name, environment) for name in names[:2]}
    tracing = values["langchain_tracing_v2"].lower() not in ("false", "0", "no", "off")
    for name in names[2:]:
        values[API_VARIABLES[name]] = _value(name, environment, required=tracing)
    return values


def _value(name: str, environment: Mapping[str, str], required: bool = True) -> str:
    found = environment.get(name) or environment.get(_OTHER_NAMES.get(name, ""), "")
    # a token read from a file often ends with a newline, which no header may hold
    if not found.strip() and required:
        raise MissingVariable(name)
    return found.strip()


def apply_secret(
    cluster: Cluster, namespace: str, name: str, values: Mapping[str, str], labels: Mapping[str, str] | None = None
) -> Applied:
    """Create a secret or bring it up to date.

    Raises:
        ClusterError: If the cluster refuses; the message never holds a value.
    """
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    metadata: Object = {"name": name, "namespace": namespace, **({"labels": dict(labels)} if labels else {})}
    return cluster.apply({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": data})


def keep_api_keys(cluster: Cluster, namespace: str) -> Applied:
    """Make the endpoint's two keys where there are none; keys that exist stay as they are."""
    if cluster.get("Secret", KEYS_SECRET, namespace):
        return "unchanged"
    return apply_secret(
        cluster, namespace, KEYS_SECRET, {key: secrets.token_urlsafe(32) for key in ("primary", "secondary")}
    )


def has_api_secret(cluster: Cluster, namespace: str) -> bool:
    """Whether `llm-api-secret` is there with all its keys; its values are not kept."""
    found = cluster.get("Secret", API_SECRET, namespace)
    return bool(found) and set(API_VARIABLES.values()) <= set((found or {}).get("data") or {})
