"""Fine-tune a model: `python -m llm-pipelines.fine-tune-pipeline [--recipe FILE] [section.key=value ...]`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from components.core.errors import EXIT_REFUSED, ConfigError, user_errors
from components.core.recipe import LoadedRecipe, load_recipe
from components.core.settings import Settings, load_settings

from .graph import build_pipeline
from .launch import run_here, submit

CATALOGUE = Path(__file__).parent / "recipes" / "models"


def main(
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[SECTION.KEY=VALUE]...")] = None,
    recipe: Annotated[Path | None, typer.Option(help="Recipe file (YAML); docs/recipe.md lists its keys.")] = None,
    host: Annotated[
        str | None, typer.Option(envvar="KFP_HOST", help="Kubeflow Pipelines address; none runs here.")
    ] = None,
    namespace: Annotated[
        str, typer.Option(envvar="KFP_NAMESPACE", help="Namespace of the run.")
    ] = "kubeflow-user-example-com",
    compile_only: Annotated[Path | None, typer.Option(help="Write the compiled pipeline to this file and stop.")] = None,
    cache: Annotated[bool, typer.Option(help="Reuse steps whose inputs have not changed.")] = True,
    dry_run: Annotated[bool, typer.Option(help="Check everything, print the effective recipe and stop.")] = False,
) -> None:
    """Fetch, check, tokenize, fine-tune, evaluate, upload and register, here or on a cluster."""
    with user_errors():
        loaded = load_recipe(recipe, overrides or [], CATALOGUE)
        settings = load_settings()
        print("Recipe:")
        print("\n".join(f"  {line}" for line in loaded.lines()), flush=True)
        if compile_only:
            _compile(loaded, compile_only)
        elif not dry_run:
            sys.exit(_run(loaded, settings, host, namespace, cache))


def _compile(loaded: LoadedRecipe, path: Path) -> None:
    from kfp import compiler

    if path.suffix not in {".yaml", ".yml", ".json"}:
        raise ConfigError(f"cannot compile to {path}: the name must end in .yaml or .json.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        compiler.Compiler().compile(build_pipeline(loaded.recipe, source_version=""), str(path))
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}. Choose another file.") from error
    print(f"Compiled to {path}")


def _run(loaded: LoadedRecipe, settings: Settings, host: str | None, namespace: str, cache: bool) -> int:
    from components.core.data import source_version

    version = source_version(loaded.recipe.data, settings)
    if host:
        token = settings.kfp_token.get_secret_value() if settings.kfp_token else None
        address = submit(build_pipeline(loaded.recipe, version), host, namespace, token, cache)
        print(f"Run started: {address}")
        return 0
    # What fails here fails again: the cause is the recipe, not a node that went away.
    resources = loaded.recipe.resources.model_copy(update={"retries": 0})
    here = loaded.recipe.model_copy(update={"resources": resources})
    run_dir = run_here(build_pipeline(here, version), settings.whetstone_home, cache)
    return _report(run_dir, settings)


def _report(run_dir: Path, settings: Settings) -> int:
    print(run_dir, json.dumps({}), settings)
    return EXIT_REFUSED


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app(prog_name="python -m llm-pipelines.fine-tune-pipeline")
