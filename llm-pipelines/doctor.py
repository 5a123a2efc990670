"""What is wrong with the cluster, before anything is booked: `python -m llm-pipelines.doctor` or `make doctor`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from components.core.deployment.doctor import Subject, as_json, examine_cluster, show, summarize
from components.core.deployment.kubernetes_api import connect
from components.core.errors import EXIT_BAD_INPUT, user_errors
from components.core.preflight import least_gpu_bytes
from components.core.recipe import load_recipe
from components.core.settings import DEFAULT_NAMESPACE, load_settings

CATALOGUE = Path(__file__).parent / "recipes" / "models"


def main(
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[SECTION.KEY=VALUE]...")] = None,
    recipe: Annotated[Path | None, typer.Option(help="Recipe file (YAML); docs/recipe.md lists its keys.")] = None,
    namespace: Annotated[
        str, typer.Option(envvar=["NAMESPACE", "KFP_NAMESPACE"], help="Where everything runs.")
    ] = DEFAULT_NAMESPACE,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig; none takes the current one.")] = None,
    overlay: Annotated[str, typer.Option(envvar="OVERLAY", help="How the endpoint is to be deployed.")] = "kubeflow",
    host: Annotated[
        str, typer.Option(envvar="KFP_HOST", help="Kubeflow Pipelines, where its pods cannot be seen.")
    ] = "",
    as_document: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of lines.")] = False,
) -> None:
    """Look, without changing anything, whether the cluster has what the recipe and the endpoint need."""
    with user_errors():
        loaded = load_recipe(recipe, overrides or [], CATALOGUE).recipe
        settings, cluster = load_settings(), connect(context)
        subject = Subject(cluster, namespace, loaded, settings, overlay, host, least_gpu_bytes)
        findings = []
        for finding in examine_cluster(subject):
            findings.append(finding)
            if not as_document:
                print(show(finding, colour=sys.stdout.isatty()), flush=True)
    print(as_json(findings, cluster.address, namespace) if as_document else f"\n{summarize(findings)}")
    if any(finding.status == "error" for finding in findings):
        sys.exit(EXIT_BAD_INPUT)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app(prog_name="python -m llm-pipelines.doctor")
