"""Following a run on a cluster from the terminal: a line whenever a step's state changes, and how it ended."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from components.core.errors import EXIT_REFUSED, PlatformError

from ..step_words import StepFailed, StepWords, words_of  # type: ignore[import-not-found,misc]

# mypy cannot follow a folder whose name has a hyphen.
from .access import NoCredentials  # type: ignore[import-not-found]
from .run import cancel, get_run, pending_reason, pod_log, run_tasks  # type: ignore[import-not-found]
from .session import Refused, Session, Unreachable  # type: ignore[import-not-found]
from .steps import (  # type: ignore[import-not-found]
    CACHED,
    FAILED,
    OVER,
    PENDING,
    REFUSED_STEP,
    RUNNING,
    SUCCEEDED,
    WAITING,
    Step,
    steps_of,
    was_cancelled,
)

EXIT_INTERRUPTED = 130
POLL_SECONDS = 5.0
HEARTBEAT_SECONDS = 60.0
PATIENCE_SECONDS = 600.0
"""How long a server that does not answer is asked again."""


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def line_of(step: Step, reason: str = "") -> str:
    """One line that says where a step stands."""
    line = f"{step.name:<20} {step.state}"
    if step.state in {SUCCEEDED, FAILED}:
        line += f" after {duration(step.seconds)}"
    if step.attempt > 1 and step.state != SUCCEEDED:
        line += f" (try {step.attempt})"
    return f"{line}: {reason}" if reason else line


@dataclass
class Watch:
    """Follows one run.

    Args:
        session: Where the run is.
        run_id: The run.
        show: Takes each line.
        follow_logs: Print what the running steps print, too.
        poll_seconds: Between two looks.
    """

    session: Session
    run_id: str
    show: Callable[[str], None]
    follow_logs: bool = False
    poll_seconds: float = POLL_SECONDS
    heartbeat_seconds: float = HEARTBEAT_SECONDS
    patience_seconds: float = PATIENCE_SECONDS
    _shown: dict[str, str] = field(default_factory=dict)
    _printed: dict[str, int] = field(default_factory=dict)
    """Characters of a pod's log that are on the screen."""
    _words: dict[str, StepWords] = field(default_factory=dict)
    _complete: set[str] = field(default_factory=set)
    """Pods whose log is on the screen to its end."""
    _quiet_since: float = field(default_factory=time.monotonic)

    def until_done(self) -> int:
        """Wait for the end of the run.

        Returns:
            The exit code: 0, or 3 when the gate refused the model.

        Raises:
            StepFailed: With the last words of the step that failed.
            PlatformError: If the run was cancelled, or the server stays out of reach.
        """
        run = self._look()
        tasks = run_tasks(self.session, run)
        while True:
            steps = steps_of(run, tasks)
            self._report(steps)
            if run.state in OVER:
                return self._outcome(run, steps)
            time.sleep(self.poll_seconds)
            run = self._look()

    def _look(self) -> Any:
        """The run; a server that does not answer is asked again for minutes."""
        lost: float | None = None
        delay = self.poll_seconds
        while True:
            try:
                run = get_run(self.session, self.run_id)
            except (Unreachable, Refused, NoCredentials) as error:
                refused_for_good = isinstance(error, Refused) and not self.session.renewable
                if refused_for_good or (lost and time.monotonic() - lost > self.patience_seconds):
                    raise PlatformError(f"{error}\nThe run goes on. {how_to_follow(self.run_id)}") from error
                if not lost:
                    lost = time.monotonic()
                    self._say(f"Lost contact, trying again for {duration(self.patience_seconds)}: {error}")
                time.sleep(delay)
                delay = min(2 * delay, 30.0)
            else:
                if lost:
                    self._say("In contact again")
                return run

    def _report(self, steps: list[Step]) -> None:
        for step in steps:
            reason = pending_reason(self.session, step.pod) if step.state == PENDING and step.pod else ""
            line = line_of(step, reason)
            if self._shown.get(step.name, line_of(Step(step.name, WAITING))) != line:
                self._shown[step.name] = line
                self._say(line)
            if self.follow_logs and step.pod and step.state in {RUNNING, SUCCEEDED, FAILED}:
                self._print_log(step)
        if time.monotonic() - self._quiet_since > self.heartbeat_seconds:
            now = [step for step in steps if step.state in {PENDING, RUNNING}]
            self._say("still " + ", ".join(_since(step) for step in now) if now else "still waiting for the first step")

    def _print_log(self, step: Step) -> None:
        if step.pod in self._complete:
            return
        log = pod_log(self.session, step.pod, self.run_id) or ""
        words = self._words.setdefault(step.pod, StepWords())
        # A line that is still being written is left for the next look.
        end = len(log) if step.state != RUNNING else log.rfind("\n") + 1
        for line in log[self._printed.get(step.pod, 0) : end].splitlines():
            taken = words.take(line.rstrip())
            if taken:
                self._say(f"  {taken}")
        self._printed[step.pod] = max(end, self._printed.get(step.pod, 0))
        if step.state != RUNNING:
            self._complete.add(step.pod)

    def _say(self, line: str) -> None:
        self._quiet_since = time.monotonic()
        self.show(line)

    def _outcome(self, run: Any, steps: list[Step]) -> int:
        if was_cancelled(run):
            raise PlatformError(f"the run was cancelled: {self.session.page(self.run_id)}")
        failed = next((step for step in steps if step.state == FAILED), None)
        if run.state == "FAILED" and failed:
            raise StepFailed(f"step {failed.name} failed: {self._cause(failed)}")
        if run.state == "FAILED":
            reason = run.error.message if run.error else "no step did"
            raise StepFailed(f"the run failed: {reason}. Look at {self.session.page(self.run_id)}")
        reports = f"The reports are in {self.session.page(self.run_id)}"
        if any(step.name == REFUSED_STEP and step.state in {SUCCEEDED, CACHED} for step in steps):
            self.show(f"The gate refused the model; nothing was uploaded. {reports}")
            return EXIT_REFUSED
        self.show(f"The model passed the gate and is registered. {reports}")
        return 0

    def _cause(self, step: Step) -> str:
        log = pod_log(self.session, step.pod, self.run_id) if step.pod else None
        cause: str = words_of(log).cause() if log else ""
        if cause:
            return cause
        return f"its log is not to be had (the pod may be gone). Look at {self.session.page(self.run_id)}"


def _since(step: Step) -> str:
    seconds = time.time() - step.started.timestamp() if step.started else 0.0
    return f"{step.state}: {step.name}, {duration(max(0.0, seconds))}"


def follow(watch: Watch, cancel_on_interrupt: bool | None) -> int:
    """Wait for the end of a run; Ctrl-C ends the waiting and, by choice, the run.

    Args:
        watch: What to follow.
        cancel_on_interrupt: End the run too; none asks on a terminal and lets it go on elsewhere.

    Returns:
        The exit code of the run, or 130 after Ctrl-C.
    """
    try:
        return watch.until_done()
    except KeyboardInterrupt:
        if cancel_on_interrupt or (cancel_on_interrupt is None and _wants_cancel()):
            cancel(watch.session, watch.run_id)
            watch.show(f"Run {watch.run_id} is cancelled.")
        else:
            watch.show(f"The run goes on. {how_to_follow(watch.run_id)}")
        return EXIT_INTERRUPTED


def _wants_cancel() -> bool:
    if not sys.stdin.isatty():
        return False
    try:
        return input("\nCancel the run on the cluster, too? [y/N] ").strip().lower() in {"y", "yes"}
    except (KeyboardInterrupt, EOFError):
        return False


def how_to_follow(run_id: str) -> str:
    """The commands that go on where the terminal left off."""
    return (
        f"Follow it: python -m llm-pipelines.runs status {run_id} --wait. "
        f"Cancel it: python -m llm-pipelines.runs cancel {run_id}."
    )
