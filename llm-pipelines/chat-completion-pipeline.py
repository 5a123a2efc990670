"""Fine-tune a chat model: `python -m llm-pipelines.chat-completion-pipeline --model NAME train_file_path=FILE ...`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from components.core.catalogue.chat_completion import ChatRun, load_chat_run, registered_entry
from components.core.catalogue.chat_names import experiment_name
from components.core.errors import ConfigError, user_errors
from components.core.recipe import find_model, get_model, read_catalogue
from components.core.recipe.model_catalogue import LATEST
from components.core.registry import RegisteredBase, find_registered
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
PIPELINE = "chat-completion-pipeline"


def main(
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[NAME=VALUE | SECTION.KEY=VALUE]...")] = None,
    model: Annotated[
        str, typer.Option(help="Name in the model catalogue, Hub id, folder, or registered model (NAME[@VERSION]).")
    ] = "starter",
    model_version: Annotated[
        str, typer.Option(help="`latest`, a commit of the model on the Hub, or a registered version.")
    ] = LATEST,
    file: Annotated[
        Path | None, typer.Option(help="Parameters (YAML, `name: value`); docs/chat-completion.md lists them.")
    ] = None,
    host: Host = None,
    namespace: Namespace = DEFAULT_NAMESPACE,
    experiment: Annotated[
        str | None, typer.Option(help="Experiment on the cluster; by default chat_completion_<model>.")
    ] = None,
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
) -> None:
    """Import the model, preprocess, fine-tune, evaluate and register; here or on a cluster."""
    with user_errors():
        run = _load(model, model_version, file, overrides or [], bool(host or compile_only), model_defaults_win)
        settings = load_settings()
        experiment = experiment or experiment_name(run.model)
        _print(run, experiment)
        start = Start(run.loaded, settings, cache and not run.inputs.force_rerun, PIPELINE, run.display_name)
        if compile_only:
            compile_to(start.pipeline(), compile_only)
        elif dry_run:
            return
        elif cron and not host:
            raise ConfigError("--cron needs a cluster. Set KFP_HOST to the address of Kubeflow.")
        else:
            get_generative_task(run.loaded.recipe.task)
            if host:
                name = run_name or run.display_name
                launching = Launch(experiment, name, wait, follow_logs, cancel_on_interrupt, cron, paused)
                sys.exit(start.there(host, namespace, launching, check_gpus))
            sys.exit(start.here(serve=False))


def _load(name: str, version: str, file: Path | None, overrides: list[str], elsewhere: bool, wins: bool) -> ChatRun:
    models = read_catalogue(CATALOGUE)
    # a name without owner can only be one of the catalogue or of the registry
    listed = find_model(models, name)
    bare = not listed and "/" not in name and not Path(name).expanduser().is_dir()
    registered = _registered(name, version, elsewhere) if bare else None
    entry = get_model(models, name, version) if listed or (bare and not registered) else None
    if registered:
        print(f"Using model name: {registered.name}, version: {registered.version}, ", end="")
        print(f"id: {registered.model_id} for fine tuning")
        entry = registered_entry(registered, models)
    elif entry:
        print(entry.announcement())
    elif version != LATEST:
        overrides = [f"model.revision={version}", *overrides]
    asked = entry is not None and bool(entry.parameters().get("apply_deepspeed"))
    cuda = None if elsewhere or not (asked or _asks_for_bits(overrides)) else has_cuda()
    return load_chat_run(entry.model_id if entry else name, entry, file, overrides, cuda, wins)


def _asks_for_bits(overrides: list[str]) -> bool:
    return any(each.startswith("precision=") for each in overrides)


def _registered(name: str, version: str, elsewhere: bool) -> RegisteredBase | None:
    """The model of that name in the workspace's own registry, beside the shared catalogue."""
    if "@" not in name and version != LATEST:
        name = f"{name}@{version}"
    return find_registered(name, load_settings(), elsewhere)


def _print(run: ChatRun, experiment: str) -> None:
    print("Parameters:")
    print("\n".join(f"  {line}" for line in run.lines()))
    print(f"Experiment    {experiment}")
    print(f"Display name  {run.display_name}", flush=True)
    if run.unused():
        print(f"Not used by this training: {', '.join(run.unused())}", flush=True)
    print("".join(f"Warning: {each}\n" for each in run.warnings), end="", file=sys.stderr, flush=True)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app(prog_name="python -m llm-pipelines.chat-completion-pipeline")
