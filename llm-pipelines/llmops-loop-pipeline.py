"""Train a small model until it can stand in for a service LLM: `python -m llm-pipelines.llmops-loop-pipeline ...`."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from components.core.errors import EXIT_REFUSED, ConfigError, user_errors
from components.core.loop import read_history
from components.core.loop.recipe import LoopRecipe, check_service, load_loop
from components.core.loop.reference import reference_version
from components.core.loop.report import print_rounds
from components.core.recipe import without_needless_deepspeed
from components.core.settings import DEFAULT_NAMESPACE, Settings, load_settings

# mypy cannot follow a folder whose name has a hyphen.
from .compiling import compile_to  # type: ignore[import-not-found]
from .launch_options import (  # type: ignore[import-not-found]
    Cache,
    CancelOnInterrupt,
    CheckGpus,
    CompileOnly,
    DryRun,
    Experiment,
    FollowLogs,
    Host,
    Namespace,
    RunName,
    Wait,
)
from .local_run import run_here  # type: ignore[import-not-found]
from .loop_graph import LOOP, build_loop_pipeline  # type: ignore[import-not-found]
from .pods import Pods  # type: ignore[import-not-found]
from .remote.launch import Launch, launch  # type: ignore[import-not-found]
from .remote.session import connect  # type: ignore[import-not-found]
from .starting import check_fits, has_cuda  # type: ignore[import-not-found]

CATALOGUE = Path(__file__).parent / "recipes" / "models"


def main(
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[SECTION.KEY=VALUE]...")] = None,
    recipe: Annotated[Path | None, typer.Option(help="Recipe file (YAML); docs/llmops-loop.md lists its keys.")] = None,
    host: Host = None,
    namespace: Namespace = DEFAULT_NAMESPACE,
    experiment: Experiment = LOOP,
    run_name: RunName = None,
    wait: Wait = None,
    follow_logs: FollowLogs = False,
    cancel_on_interrupt: CancelOnInterrupt = None,
    compile_only: CompileOnly = None,
    check_gpus: CheckGpus = True,
    cache: Cache = True,
    dry_run: DryRun = False,
) -> None:
    """Infer, judge and, until the model is good enough, generate, merge and retrain; here or on a cluster."""
    with user_errors():
        loop = load_loop(recipe, overrides or [], CATALOGUE)
        if loop.recipe.training.apply_deepspeed:
            cuda = None if host or compile_only else has_cuda()
            loop = replace(loop, loaded=without_needless_deepspeed(loop.loaded, cuda))
        settings = load_settings()
        print("Recipe:")
        print("\n".join(f"  {line}" for line in loop.lines()), flush=True)
        print("".join(f"Warning: {each}\n" for each in loop.loaded.warnings), end="", file=sys.stderr, flush=True)
        if compile_only:
            compile_to(build_loop_pipeline(loop, _pods(loop, settings)), compile_only)
        elif dry_run:
            return
        elif host:
            if check_gpus:
                check_fits(loop.loaded, settings)
            pipeline = build_loop_pipeline(loop, _pods(loop, settings), reference_version(loop.reference, settings))
            launching = Launch(experiment, run_name, wait, follow_logs, cancel_on_interrupt)
            sys.exit(launch(pipeline, connect(host, namespace, settings), launching, cache))
        else:
            sys.exit(_run_here(loop, settings, cache))


def _pods(loop: LoopRecipe, settings: Settings) -> Pods:
    return Pods(loop.recipe.gpu, loop.recipe.resources, settings.pod_environment())


def _run_here(loop: LoopRecipe, settings: Settings, cache: bool) -> int:
    from components.core.registry.hub import check_write_access

    check_service(loop, settings)
    if loop.recipe.training.quantized_bits and not has_cuda():
        # found now, and not when the base model has been judged for money
        raise ConfigError(
            f"training.precision={loop.recipe.training.precision} (QLoRA) needs a CUDA GPU, and this machine has none. "
            "Set training.precision=auto, or KFP_HOST to run on a cluster."
        )
    version = reference_version(loop.reference, settings)
    check_write_access(settings)
    # what fails here fails again, checkpoints are files, and there are no pods to shape
    resources = loop.recipe.resources.model_copy(update={"retries": 0, "checkpoint_volume": None})
    pods = replace(_pods(loop, settings), resources=resources, environment={})
    outputs = run_here(build_loop_pipeline(loop, pods, version), settings.whetstone_home, cache)
    return _report(outputs, settings)


def _report(outputs: dict[str, Any], settings: Settings) -> int:
    """Say what came of a loop and where to look; the exit code tells a refused model from one that may stand in."""
    outcome, registration = outputs["outcome"], outputs["registration"]
    published, registered = registration["published"], registration["registered"]
    folder = Path(outcome["history"])
    print()
    print(print_rounds(read_history(folder)))
    print(f"\n{outcome['headline']}\n")
    shown = [("Report", str(folder / "report.html"))]
    if registered:
        shown.append(("MLflow", f"{settings.tracking_uri}, run {registered['run_id']} (`make mlflow` opens its page)"))
    shown.append(("Stand-in", _stand_in(outcome, published, registered)))
    print("\n".join(f"{label:<9} {value}" for label, value in shown))
    return 0 if outcome["qualified"] else EXIT_REFUSED


def _stand_in(outcome: dict[str, Any], published: dict[str, Any], registered: dict[str, Any]) -> str:
    if published:
        return f"{registered['name']} version {registered['version']}, {published['uri']}"
    if outcome["qualified"]:
        return "the base model is good enough as it is; nothing was trained or registered"
    return "none: no model of this loop may stand in for the service LLM"


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app(prog_name="python -m llm-pipelines.llmops-loop-pipeline")
