"""Put the Hub token and repository, or the keys of service LLMs, into the cluster: `make create-secret`."""

import sys
from typing import Annotated

import typer

from components.core.deployment.kubernetes_api import connect
from components.core.deployment.secrets import MissingVariable, apply_secret, read_hub_values, read_service_values
from components.core.errors import user_errors
from components.core.settings import DEFAULT_NAMESPACE, HUB_SECRET, SERVICE_LLM_SECRET


def main(
    namespace: Annotated[
        str, typer.Option(envvar=["NAMESPACE", "KFP_NAMESPACE"], help="Namespace of the pipelines.")
    ] = DEFAULT_NAMESPACE,
    service_llm: Annotated[
        bool, typer.Option("--service-llm", help="The API keys of service LLMs instead: those that are set.")
    ] = False,
) -> None:
    """Create the secret, or bring it up to date; the values are read from the environment only."""
    if service_llm:
        with user_errors():
            keys = read_service_values()
            done = apply_secret(connect(), namespace, SERVICE_LLM_SECRET, keys)
            print(f"Secret {SERVICE_LLM_SECRET} {done} in namespace {namespace} ({', '.join(sorted(keys))})")
        return
    try:
        values = read_hub_values()
    except MissingVariable as missing:
        sys.exit(f"Error: {missing}")
    with user_errors():
        done = apply_secret(connect(), namespace, HUB_SECRET, values)
        print(f"Secret {HUB_SECRET} {done} in namespace {namespace}")


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app(prog_name="python -m llm-pipelines.create-secret")
