"""What a run needs in memory and time, before it is submitted: `python -m llm-pipelines.preflight`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from components.core.deployment.kubernetes_api import Cluster, connect
from components.core.errors import ERROR_PREFIX, EXIT_BAD_INPUT, ConfigError, user_errors
from components.core.preflight import examine
from components.core.recipe import load_recipe
from components.core.settings import load_settings

CATALOGUE = Path(__file__).parent / "recipes" / "models"


def main(
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[SECTION.KEY=VALUE]...")] = None,
    recipe: Annotated[Path | None, typer.Option(help="Recipe file (YAML); docs/recipe.md lists its keys.")] = None,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig; none takes the current one.")] = None,
) -> None:
    """Estimate memory and time, and hold them against the cluster's GPUs, where there is a cluster."""
    with user_errors():
        loaded = load_recipe(recipe, overrides or [], CATALOGUE)
        report = examine(loaded.recipe, load_settings(), find_cluster(context), loaded.model)
    print("\n".join(report.lines))
    if report.problems:
        print("\n".join(f"{ERROR_PREFIX}{problem}" for problem in report.problems), file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)


def find_cluster(context: str | None = None) -> Cluster | None:
    """The cluster of the kubeconfig or around this pod; None if there is none."""
    try:
        return connect(context)
    except ConfigError:
        if context:
            raise
        return None


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app(prog_name="python -m llm-pipelines.preflight")
