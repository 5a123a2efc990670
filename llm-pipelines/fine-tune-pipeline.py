"""Fine-tune a model: `python -m llm-pipelines.fine-tune-pipeline [--recipe FILE] [section.key=value ...]`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from components.core.errors import ConfigError, user_errors
from components.core.recipe import load_recipe, without_needless_deepspeed
from components.core.settings import DEFAULT_NAMESPACE, load_settings
from components.core.tasks import get_generative_task

# mypy cannot follow a folder whose name has a hyphen.
from .compiling import compile_to  # type: ignore[import-not-found]
from .launch_options import (  # type: ignore[import-not-found]
    Cache,
    CancelOnInterrupt,
    CheckGpus,
    CompileOnly,
    Cron,
    DryRun,
    Experiment,
    FollowLogs,
    Host,
    ModelDefaultsWin,
    Namespace,
    Paused,
    RunName,
    Wait,
)
from .remote.launch import Launch  # type: ignore[import-not-found]
from .starting import Start, has_cuda  # type: ignore[import-not-found]

CATALOGUE = Path(__file__).parent / "recipes" / "models"


def main(
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[SECTION.KEY=VALUE]...")] = None,
    recipe: Annotated[Path | None, typer.Option(help="Recipe file (YAML); docs/recipe.md lists its keys.")] = None,
    host: Host = None,
    namespace: Namespace = DEFAULT_NAMESPACE,
    experiment: Experiment = "fine-tune-pipeline",
    run_name: RunName = None,
    wait: Wait = None,
    follow_logs: FollowLogs = False,
    cancel_on_interrupt: CancelOnInterrupt = None,
    cron: Cron = None,
    paused: Paused = False,
    compile_only: CompileOnly = None,
    check_gpus: CheckGpus = True,
    cache: Cache = True,
    dry_run: DryRun = False,
    model_defaults_win: ModelDefaultsWin = False,
    serve: Annotated[bool, typer.Option(help="Serve a model that passed, with its page, on this machine.")] = False,
) -> None:
    """Fetch, check, tokenize, fine-tune, evaluate, upload and register, here or on a cluster."""
    with user_errors():
        loaded = load_recipe(recipe, overrides or [], CATALOGUE, model_defaults_win)
        if loaded.recipe.training.apply_deepspeed:
            loaded = without_needless_deepspeed(loaded, None if host or compile_only else has_cuda())
        get_generative_task(loaded.recipe.task)  # this graph has no step for the other tasks
        settings = load_settings()
        print("Recipe:")
        print("\n".join(f"  {line}" for line in loaded.lines()), flush=True)
        print("".join(f"Warning: {each}\n" for each in loaded.warnings), end="", file=sys.stderr, flush=True)
        start = Start(loaded, settings, cache)
        if compile_only:
            compile_to(start.pipeline(), compile_only)
        elif dry_run:
            return
        elif host:
            launching = Launch(experiment, run_name, wait, follow_logs, cancel_on_interrupt, cron, paused)
            sys.exit(start.there(host, namespace, launching, check_gpus))
        elif cron:
            raise ConfigError("--cron needs a cluster. Set KFP_HOST to the address of Kubeflow.")
        else:
            sys.exit(start.here(serve))


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app(prog_name="python -m llm-pipelines.fine-tune-pipeline")
