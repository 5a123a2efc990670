"""Train a task of the catalogue: `python -m llm-pipelines.task-pipeline TASK train_file=FILE [name=value ...]`."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from components.core.catalogue.amounts import kubernetes_quantity
from components.core.catalogue.loading import LoadedParameters, load_parameters
from components.core.catalogue.task_names import CORE_TASKS
from components.core.errors import EXIT_REFUSED, ConfigError, user_errors
from components.core.recipe import GpuConfig, ResourcesConfig
from components.core.settings import DEFAULT_NAMESPACE, Settings, load_settings

# mypy cannot follow a folder whose name has a hyphen.
from .compiling import compile_to  # type: ignore[import-not-found]
from .launch_options import (  # type: ignore[import-not-found]
    Cache,
    CancelOnInterrupt,
    CompileOnly,
    Cron,
    DryRun,
    Experiment,
    FollowLogs,
    Host,
    Namespace,
    Paused,
    RunName,
    Wait,
)
from .local_run import run_here  # type: ignore[import-not-found]
from .pods import Pods  # type: ignore[import-not-found]
from .remote.launch import Launch, launch  # type: ignore[import-not-found]
from .remote.session import connect  # type: ignore[import-not-found]
from .task_graph import build_task_pipeline  # type: ignore[import-not-found]


def main(
    task: Annotated[str, typer.Argument(help=f"One of {', '.join(CORE_TASKS)}.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[NAME=VALUE]...")] = None,
    file: Annotated[
        Path | None, typer.Option(help="Parameters (YAML, `name: value`); docs/catalogue-parameters.md lists them.")
    ] = None,
    host: Host = None,
    namespace: Namespace = DEFAULT_NAMESPACE,
    experiment: Experiment = "task-pipeline",
    run_name: RunName = None,
    wait: Wait = None,
    follow_logs: FollowLogs = False,
    cancel_on_interrupt: CancelOnInterrupt = None,
    cron: Cron = None,
    paused: Paused = False,
    compile_only: CompileOnly = None,
    gpu_product: Annotated[str | None, typer.Option(help="Node label nvidia.com/gpu.product to select.")] = None,
    memory: Annotated[str, typer.Option(help="Memory of the fine-tuning and inference pods.")] = "8Gi",
    cache: Cache = True,
    dry_run: DryRun = False,
    deploy: Annotated[bool, typer.Option(help="Bring a model that passed online.")] = True,
) -> None:
    """Preprocess, fine-tune, predict, judge and, when the gate passes, register and deploy; here or on a cluster."""
    with user_errors():
        given = overrides or []
        if not file and not any(each.startswith("train_file=") for each in given):
            given = [*given, "train_file=starter"]
        loaded = load_parameters(task, file, given, cuda=None if host or compile_only else _has_cuda(given))
        settings = load_settings()
        print("Parameters:")
        print("\n".join(f"  {line}" for line in loaded.lines()), flush=True)
        if dry_run:
            return
        finetune = loaded.finetune
        gpu = GpuConfig(
            count=finetune.number_of_gpu_to_use_finetuning,
            num_nodes=finetune.num_nodes_finetune,
            product=gpu_product,
            shm_size=kubernetes_quantity(finetune.shm_size_finetune),
        )
        values = _portable(loaded)
        if compile_only or host:
            pods = Pods(gpu, ResourcesConfig(memory=memory), settings.pod_environment())
            version = "" if compile_only else _source_version(loaded, settings)
            pipeline = build_task_pipeline(task, values, pods, deploy, version)
            if compile_only:
                compile_to(pipeline, compile_only)
                return
            launching = Launch(experiment, run_name, wait, follow_logs, cancel_on_interrupt, cron, paused)
            sys.exit(launch(pipeline, connect(host, namespace, settings), launching, cache))
        if cron:
            raise ConfigError("--cron needs a cluster. Set KFP_HOST to the address of Kubeflow.")
        sys.exit(_run_here(loaded, values, settings, cache, deploy))


def _has_cuda(overrides: list[str]) -> bool | None:
    """Whether this machine has a CUDA device; looked at only where a parameter depends on it."""
    if not any(each.startswith("precision=") for each in overrides):
        return None
    import torch

    return torch.cuda.is_available()


def _portable(loaded: LoadedParameters) -> dict[str, dict[str, Any]]:
    """The values, with the content of a DeepSpeed file in place of its path, which no pod could read."""
    values = loaded.values()
    for group in values.values():
        if name := group.get("deepspeed"):
            group["deepspeed"] = json.dumps(json.loads(Path(name).read_text(encoding="utf-8")))
    return values


def _source_version(loaded: LoadedParameters, settings: Settings) -> str:
    from components.core.data import source_version

    return str(source_version(loaded.source.data(loaded.columns()), settings, CORE_TASKS[loaded.task]))


def _run_here(
    loaded: LoadedParameters, values: dict[str, dict[str, Any]], settings: Settings, cache: bool, deploy: bool
) -> int:
    from components.core.registry.hub import check_write_access

    version = _source_version(loaded, settings)
    check_write_access(settings)
    # what fails here fails again, checkpoints are files, and there are no pods to shape
    pods = Pods(GpuConfig(count=0), ResourcesConfig(retries=0, checkpoint_volume=None))
    outputs = run_here(build_task_pipeline(loaded.task, values, pods, deploy, version), settings.whetstone_home, cache)
    return _report(outputs, settings, deploy)


def _report(outputs: dict[str, Any], settings: Settings, deploy: bool) -> int:
    """Say what came of a run and where to look; the exit code tells a refused model from one that passed."""
    folder = Path(outputs["evaluation"].path)
    registration = outputs["registration"]
    published, registered = registration["published"], registration["registered"]
    print(f"\n{(folder / 'report.md').read_text(encoding='utf-8').strip()}\n")
    shown = [
        ("Evaluation report", folder / "report.html"),
        ("Data report", Path(outputs["preprocessed"].path) / "report.html"),
        ("Token report", Path(outputs["preprocessed"].path) / "tokens.html"),
        ("Predictions", Path(outputs["predictions"].path) / "predictions.txt"),
        ("MLflow", f"{settings.tracking_uri}, run {registered['run_id']} (`make mlflow` opens its page)"),
        ("Model", published.get("uri", "not uploaded: the gate refused it")),
    ]
    if published:
        shown.append(("Registered as", f"{registered['name']} version {registered['version']}"))
    print("\n".join(f"{label:<18} {value}" for label, value in shown))
    if not published:
        return EXIT_REFUSED
    if deploy:
        _ask(outputs["endpoint"]["address"], Path(outputs["preprocessed"].path) / "test.jsonl")
    return 0


def _ask(address: str, test_rows: Path) -> None:
    """Ask the endpoint about the first test row, as a user would."""
    from .predicting import ask_endpoint, in_short  # type: ignore[import-not-found]

    with test_rows.open(encoding="utf-8") as lines:
        row = json.loads(next(lines))
    answer = ask_endpoint(address, row)
    print(f"\nEndpoint           {address} ({address}/docs); `make stop` ends it")
    print(f"Asked              {json.dumps(row, ensure_ascii=False)[:300]}")
    print(f"Answered           {in_short(answer)}")


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app(prog_name="python -m llm-pipelines.task-pipeline")
