"""Fine-tune a model: `python -m llm-pipelines.fine-tune-pipeline [--recipe FILE] [section.key=value ...]`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from components.core.errors import EXIT_REFUSED, ConfigError, StorageError, user_errors
from components.core.recipe import LoadedRecipe, load_recipe
from components.core.settings import DEFAULT_NAMESPACE, Settings, load_settings
from components.core.tasks import get_generative_task

# mypy cannot follow a folder whose name has a hyphen.
from .compiling import compile_to  # type: ignore[import-not-found]
from .graph import build_pipeline  # type: ignore[import-not-found]
from .launch_options import (  # type: ignore[import-not-found]
    Cache,
    CancelOnInterrupt,
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
from .local_run import run_here  # type: ignore[import-not-found]
from .preflight import find_cluster  # type: ignore[import-not-found]
from .remote.launch import Launch, launch  # type: ignore[import-not-found]
from .remote.session import connect  # type: ignore[import-not-found]
from .serve import first_answerable, serve_and_ask  # type: ignore[import-not-found]

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
    check_gpus: Annotated[
        bool,
        typer.Option(
            "--preflight/--no-preflight", help="Hold a run against the cluster's GPUs before it is submitted."
        ),
    ] = True,
    cache: Cache = True,
    dry_run: DryRun = False,
    model_defaults_win: ModelDefaultsWin = False,
    serve: Annotated[bool, typer.Option(help="Serve a model that passed, with its page, on this machine.")] = False,
) -> None:
    """Fetch, check, tokenize, fine-tune, evaluate, upload and register, here or on a cluster."""
    with user_errors():
        loaded = load_recipe(recipe, overrides or [], CATALOGUE, model_defaults_win)
        get_generative_task(loaded.recipe.task)  # this graph has no step for the other tasks
        settings = load_settings()
        print("Recipe:")
        print("\n".join(f"  {line}" for line in loaded.lines()), flush=True)
        print("".join(f"Warning: {each}\n" for each in loaded.warnings), end="", file=sys.stderr, flush=True)
        if compile_only:
            compile_to(build_pipeline(loaded.recipe, environment=settings.pod_environment()), compile_only)
        elif dry_run:
            return
        elif host:
            launching = Launch(experiment, run_name, wait, follow_logs, cancel_on_interrupt, cron, paused)
            if check_gpus:
                _preflight(loaded, settings)
            sys.exit(_run_there(loaded, settings, host, namespace, launching, cache))
        elif cron:
            raise ConfigError("--cron needs a cluster. Set KFP_HOST to the address of Kubeflow.")
        else:
            sys.exit(_run_here(loaded, settings, cache, serve))


def _run_there(
    loaded: LoadedRecipe, settings: Settings, host: str, namespace: str, launching: Launch, cache: bool
) -> int:
    from components.core.data import source_version

    version = source_version(loaded.recipe.data, settings, loaded.recipe.task.name)
    pipeline = build_pipeline(loaded.recipe, version, settings.pod_environment())
    return int(launch(pipeline, connect(host, namespace, settings), launching, cache))


def _preflight(loaded: LoadedRecipe, settings: Settings) -> None:
    """Stop a run that cannot fit; one whose base model cannot be looked at from here goes on."""
    from components.core.preflight import preflight

    print("\nPreflight:")
    try:
        lines = preflight(loaded.recipe, settings, find_cluster(), loaded.model)
        print("\n".join(f"  {line}" for line in lines), flush=True)
    except StorageError as error:
        print(f"  not possible from here: {error}", flush=True)


def _run_here(loaded: LoadedRecipe, settings: Settings, cache: bool, serve: bool) -> int:
    from components.core.data import source_version
    from components.core.registry.hub import check_write_access

    version = source_version(loaded.recipe.data, settings, loaded.recipe.task.name)
    check_write_access(settings)
    # What fails here fails again: the cause is the recipe, not a node that went away. Checkpoints are files here.
    resources = loaded.recipe.resources.model_copy(update={"retries": 0, "checkpoint_volume": None})
    here = loaded.recipe.model_copy(update={"resources": resources})
    outputs = run_here(build_pipeline(here, version), settings.whetstone_home, cache)
    code = _report(outputs, settings)
    if serve and code == 0:
        _serve(outputs, settings)
    return code


def _serve(outputs: dict[str, Any], settings: Settings) -> None:
    uri: str = outputs["registration"]["published"]["uri"]
    model, _, revision = uri.removeprefix("hf://").partition("@") if uri.startswith("hf://") else (uri, "", "")
    serve_and_ask(model, settings, revision or None, first_answerable(Path(outputs["dataset"].path) / "test.jsonl"))


def _report(outputs: dict[str, Any], settings: Settings) -> int:
    """Say what came of a run and where to look; the exit code tells a refused model from one that passed."""
    from components.core.evaluation import print_summary, read_evaluation

    registration = outputs["registration"]
    published, registered = registration["published"], registration["registered"]
    print()
    print(print_summary(read_evaluation(Path(outputs["evaluation"].path))))
    print()
    for label, name in (("Evaluation report", "evaluation"), ("Data report", "dataset"), ("Token report", "tokens")):
        print(f"{label:<18} {Path(outputs[name].path) / 'report.html'}")
    print(f"MLflow             {settings.tracking_uri}, run {registered['run_id']} (`make mlflow` opens its page)")
    if not published:
        print("Model              not uploaded: the gate refused it")
        return EXIT_REFUSED
    print(f"Model              {published['uri']}")
    print(f"Registered as      {registered['name']} version {registered['version']}")
    return 0


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app(prog_name="python -m llm-pipelines.fine-tune-pipeline")
