"""Runs on Kubeflow Pipelines: `python -m llm-pipelines.runs list|status|logs|cancel|schedules|unschedule`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from components.core.errors import ConfigError, user_errors
from components.core.settings import DEFAULT_NAMESPACE, load_settings

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)

Host = Annotated[str | None, typer.Option(envvar="KFP_HOST", help="Kubeflow Pipelines address.")]
Namespace = Annotated[str, typer.Option(envvar="KFP_NAMESPACE", help="Namespace of the runs.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run.")]


@contextmanager
def _session(host: str | None, namespace: str) -> Iterator[Any]:
    # Imported here: `--help` need not wait for the client.
    from .remote.session import connect  # type: ignore[import-not-found]

    with user_errors():
        if not host:
            raise ConfigError("KFP_HOST is not set. Set it to the address of Kubeflow, https://kubeflow.example.")
        yield connect(host, namespace, load_settings())


@app.command("list")
def list_(
    host: Host = None,
    namespace: Namespace = DEFAULT_NAMESPACE,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, newest first.")] = 20,
) -> None:
    """Print the newest runs: id, state, when it was made, name."""
    from .remote.run import list_runs  # type: ignore[import-not-found]

    with _session(host, namespace) as session:
        for run in list_runs(session, limit):
            print(f"{run.run_id}  {run.state or 'PENDING':<10} {run.created_at:%Y-%m-%d %H:%M}  {run.display_name}")


@app.command()
def status(
    run_id: RunId,
    host: Host = None,
    namespace: Namespace = DEFAULT_NAMESPACE,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it to its end.")] = False,
    follow_logs: Annotated[bool, typer.Option("--follow-logs", help="And print what its steps print.")] = False,
    cancel_on_interrupt: Annotated[
        bool | None,
        typer.Option("--cancel-on-interrupt/--keep-on-interrupt", help="What Ctrl-C does to the run; asks by default."),
    ] = None,
) -> None:
    """Print where each step of a run stands."""
    from .remote.run import get_run, pending_reason, run_tasks  # type: ignore[import-not-found]
    from .remote.steps import PENDING, steps_of  # type: ignore[import-not-found]
    from .remote.watch import Watch, follow, line_of  # type: ignore[import-not-found]

    with _session(host, namespace) as session:
        if wait:
            sys.exit(follow(Watch(session, run_id, _show, follow_logs), cancel_on_interrupt))
        run = get_run(session, run_id)
        print(f"{run.display_name}: {(run.state or 'PENDING').lower()}, {session.page(run_id)}")
        for step in steps_of(run, run_tasks(session, run)):
            print(line_of(step, pending_reason(session, step.pod) if step.state == PENDING and step.pod else ""))


@app.command()
def logs(
    run_id: RunId,
    step: Annotated[str | None, typer.Argument(metavar="[STEP]", help="One step; all when left out.")] = None,
    host: Host = None,
    namespace: Namespace = DEFAULT_NAMESPACE,
) -> None:
    """Print what the steps of a run printed, as far as their logs are kept."""
    from .remote.run import get_run, pod_log, run_tasks  # type: ignore[import-not-found]
    from .remote.steps import steps_of  # type: ignore[import-not-found]
    from .step_words import StepWords  # type: ignore[import-not-found]

    with _session(host, namespace) as session:
        run = get_run(session, run_id)
        steps = steps_of(run, run_tasks(session, run))
        if step and step not in {known.name for known in steps}:
            raise ConfigError(f"the run has no step {step}. It has: {', '.join(known.name for known in steps)}.")
        for known in steps:
            if known.pod and step in {None, known.name}:
                print(f"== {known.name} ({known.state})")
                words = StepWords()
                for line in (pod_log(session, known.pod, run_id) or "(no log to be had)").splitlines():
                    taken = words.take(line.rstrip())
                    if taken:
                        print(taken)


@app.command()
def cancel(run_id: RunId, host: Host = None, namespace: Namespace = DEFAULT_NAMESPACE) -> None:
    """End a run on the cluster."""
    from .remote.run import cancel as cancel_run  # type: ignore[import-not-found]

    with _session(host, namespace) as session:
        cancel_run(session, run_id)
        print(f"Run {run_id} is cancelled.")


@app.command()
def schedules(host: Host = None, namespace: Namespace = DEFAULT_NAMESPACE) -> None:
    """Print the recurring runs: state, cron expression, name."""
    from .remote.schedule import list_schedules  # type: ignore[import-not-found]

    with _session(host, namespace) as session:
        for schedule in list_schedules(session):
            cron = schedule.trigger.cron_schedule.cron if schedule.trigger and schedule.trigger.cron_schedule else "-"
            print(f"{(schedule.status or schedule.mode or '-').lower():<9} {cron:<20} {schedule.display_name}")


@app.command()
def unschedule(
    name: Annotated[str, typer.Argument(help="Name of the recurring run.")],
    host: Host = None,
    namespace: Namespace = DEFAULT_NAMESPACE,
) -> None:
    """Remove a recurring run; runs that it has started go on."""
    from .remote.schedule import delete_schedule  # type: ignore[import-not-found]

    with _session(host, namespace) as session:
        delete_schedule(session, name)
        print(f"Recurring run {name} is removed.")


def _show(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    app(prog_name="python -m llm-pipelines.runs")
