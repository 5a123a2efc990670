"""Put the Hub token and repository into the cluster: `make create-secret`."""

import os
import sys
from typing import Annotated

import typer

from components.core.errors import ConfigError, PlatformError, user_errors

# mypy cannot follow a folder whose name has a hyphen.
from .pods import HUB_SECRET  # type: ignore[import-not-found]

VARIABLES = {"HF_TOKEN": "token", "HF_REPO": "repo"}
"""Environment variable to the secret's key."""


def main(
    namespace: Annotated[
        str, typer.Option(envvar="KFP_NAMESPACE", help="Namespace of the pipelines.")
    ] = "kubeflow-user-example-com",
) -> None:
    """Create the secret, or bring it up to date; the values are read from the environment only."""
    for name in VARIABLES:
        if not os.environ.get(name):
            sys.exit(f"Error: env var {name} is not set. Please set it and try again.")
    with user_errors():
        done = apply_secret(namespace, {key: os.environ[name] for name, key in VARIABLES.items()})
        print(f"Secret {HUB_SECRET} {done} in namespace {namespace}")


def apply_secret(namespace: str, values: dict[str, str]) -> str:
    """Create or replace the secret in the cluster that the kubeconfig names.

    Returns:
        "created" or "updated".

    Raises:
        ConfigError: If no cluster is configured.
        PlatformError: If the cluster cannot be reached or refuses; the message never holds a value.
    """
    from kubernetes import client, config

    try:
        config.load_config()
    except (config.ConfigException, OSError) as error:
        raise ConfigError("no cluster is configured. Set KUBECONFIG to a valid file, then try again.") from error
    core = client.CoreV1Api()
    secret = client.V1Secret(metadata=client.V1ObjectMeta(name=HUB_SECRET), type="Opaque", string_data=values)
    try:
        try:
            core.create_namespaced_secret(namespace, secret)
        except client.ApiException as error:
            if error.status != 409:
                raise
            core.replace_namespaced_secret(HUB_SECRET, namespace, secret)
            return "updated"
    except client.ApiException as error:
        raise PlatformError(_explain(error.status, error.reason, namespace)) from error
    except Exception as error:
        host = core.api_client.configuration.host
        raise PlatformError(
            f"cannot reach the cluster at {host} ({type(error).__name__}). Check KUBECONFIG."
        ) from error
    return "created"


def _explain(status: int, reason: str, namespace: str) -> str:
    if status == 404:
        return f"namespace {namespace} does not exist. Create it, or set KFP_NAMESPACE to yours."
    if status in (401, 403):
        return (
            f"the cluster refuses ({status} {reason}). You need the right to create secrets in namespace {namespace}."
        )
    return f"the cluster answered {status} {reason}. Try again, and look at the API server if it stays so."


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app(prog_name="python -m llm-pipelines.create-secret")
