"""Launching a pipeline on a cluster: now, or by the clock."""

import sys
from dataclasses import dataclass
from typing import Any

# mypy cannot follow a folder whose name has a hyphen.
from .run import EXPERIMENT, package_of, submit  # type: ignore[import-not-found]
from .schedule import check_cron, create_schedule  # type: ignore[import-not-found]
from .session import Session  # type: ignore[import-not-found]
from .watch import Watch, follow, how_to_follow  # type: ignore[import-not-found]

SOURCE_STEP = "fetch-dataset"
"""The step that reads from outside of the cluster."""


@dataclass(frozen=True)
class Launch:
    """What the command line says about a run on a cluster."""

    experiment: str = EXPERIMENT
    run_name: str | None = None
    """None makes one."""
    wait: bool | None = None
    """Follow the run to its end; none does where a person looks on."""
    follow_logs: bool = False
    cancel_on_interrupt: bool | None = None
    """What Ctrl-C does to the run; none asks on a terminal and keeps it elsewhere."""
    cron: str | None = None
    """Have the cluster start the pipeline by this clock instead of now."""
    paused: bool = False
    """Make the recurring run without starting its clock."""


def launch(pipeline: Any, session: Session, choice: Launch, use_cache: bool) -> int:
    """Start a pipeline on Kubeflow Pipelines, and follow it where that is wanted.

    Returns:
        The exit code: 0, 3 when the gate refused the model, 130 after Ctrl-C.

    Raises:
        PlatformError: If the server cannot be reached or refuses, or the run fails.
    """
    if choice.cron:
        return _schedule(session, pipeline, choice, check_cron(choice.cron), use_cache)
    run_id = submit(session, package_of(pipeline, use_cache), choice.experiment, choice.run_name)
    _show(f"Run started: {session.page(run_id)}")
    if not (sys.stdout.isatty() if choice.wait is None else choice.wait):
        _show(how_to_follow(run_id))
        return 0
    return int(follow(Watch(session, run_id, _show, choice.follow_logs), choice.cancel_on_interrupt))


def _schedule(session: Session, pipeline: Any, choice: Launch, cron: str, use_cache: bool) -> int:
    # What a recurring run fetches may have changed since the last time, which the inputs of the step do not show.
    package = package_of(pipeline, use_cache, uncached=(SOURCE_STEP,))
    name = choice.run_name or EXPERIMENT
    create_schedule(session, package, choice.experiment, name, cron, not choice.paused)
    state = "made, paused" if choice.paused else "made"
    _show(f"Recurring run {name} {state}: {cron} (in the cluster's time zone, UTC unless it was changed)")
    _show(f"Remove it: python -m llm-pipelines.runs unschedule '{name}'")
    return 0


def _show(line: str) -> None:
    print(line, flush=True)
