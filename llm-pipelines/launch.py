"""Running a compiled graph: here through kfp.local, or on a cluster's Kubeflow Pipelines."""

import io
import os
import re
import subprocess
import sys
import time
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from components.core.errors import ERROR_PREFIX, PlatformError

ROOT = Path(__file__).resolve().parents[1]

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_EXECUTING = re.compile(r"Executing task '([\w-]+)'")
_CHATTER = re.compile(
    r"KFP Executor|Running pipeline: |Streamed logs:|^-{20,}$|Task '[\w-]+' (outputs|has no outputs|finished)"
    r"|Pipeline '[\w-]+' finished|Cleaned up workspace"
)


class StepFailed(PlatformError):
    """A step ended with an error; the message holds the step's own last words."""


class _StepLog(io.TextIOBase):
    """Passes the steps' output on without the runner's own chatter, and remembers the last error."""

    def __init__(self, target: Any) -> None:
        self.target = target
        self.tail: deque[str] = deque(maxlen=15)
        self.error: list[str] = []
        self._partial = ""
        self._dump_ends = ""

    def write(self, text: str) -> int:
        """Take in a piece of output; whole lines go on."""
        *lines, self._partial = (self._partial + text).split("\n")
        for line in lines:
            self._take(_ANSI.sub("", line).rstrip())
        self.target.flush()
        return len(text)

    def _take(self, line: str) -> None:
        if self._dump_ends or _CHATTER.search(line):
            # The executor prints its whole input, an indented JSON object; the runner prints all outputs and a rule.
            if "Got executor_input" in line:
                self._dump_ends = "    }"
            elif re.search("Task '[\\w-]+' outputs:", line):
                self._dump_ends = "-" * 80
            elif line == self._dump_ends:
                self._dump_ends = ""
            return
        started = _EXECUTING.search(line)
        if started:
            self.error = []
            line = f"\n== {started.group(1)}"
        elif line.strip().startswith(ERROR_PREFIX):
            self.error = [line.strip().removeprefix(ERROR_PREFIX)]
        elif self.error and line.startswith("    ") and line.strip():
            self.error.append(line.strip())
        if line.strip():
            self.tail.append(line.strip())
            self.target.write(line.removeprefix("    ") + "\n")

    def flush(self) -> None:
        """Flush what is below."""
        self.target.flush()


def git_commit() -> str:
    """Commit of the checkout, with `-dirty` when it has changes; `unknown` outside one."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return found.stdout.strip()


@contextmanager
def _step_environment() -> Iterator[None]:
    """What the steps' processes find in their environment when they run here."""
    before = dict(os.environ)
    os.environ.setdefault("GIT_COMMIT", git_commit())
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    os.environ["PYTHONUNBUFFERED"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def run_here(pipeline: Any, home: Path, use_cache: bool) -> dict[str, Any]:
    """Run a graph on this machine, step after step.

    Args:
        pipeline: A kfp pipeline.
        home: Folder for runs and the cache.
        use_cache: Skip steps whose inputs, code and parameters are those of an earlier run.

    Returns:
        The pipeline's outputs: parameters as values, artifacts as kfp artifacts.

    Raises:
        StepFailed: With the last words of the step that failed.
    """
    from kfp import local

    log = _StepLog(sys.stdout)
    with warnings.catch_warnings(), _step_environment(), redirect_stdout(log):
        warnings.simplefilter("ignore")
        local.init(
            runner=local.SubprocessRunner(use_venv=False),
            pipeline_root=str((home / "runs").resolve()),
            raise_on_error=True,
            enable_caching=use_cache,
            cache_root=str((home / "cache" / "steps").resolve()),
        )
        try:
            return dict(pipeline().outputs)
        except RuntimeError as error:
            cause = "\n".join(log.error) or "\n".join(log.tail)
            raise StepFailed(f"{_failed_step(error)}: {cause}") from error


def _failed_step(error: RuntimeError) -> str:
    found = re.search(r"Inner task failed: .*?'([\w-]+)'", _ANSI.sub("", str(error)))
    return f"step {found.group(1)} failed" if found else "the run failed"


def submit(pipeline: Any, host: str, namespace: str, token: str | None, use_cache: bool) -> str:
    """Start a graph on Kubeflow Pipelines and give back the address of the run.

    Raises:
        PlatformError: If the server cannot be reached or refuses.
    """
    import kfp
    import kfp_server_api
    import urllib3

    try:
        client = kfp.Client(host=host, namespace=namespace, existing_token=token)
        run = client.create_run_from_pipeline_func(
            pipeline,
            arguments={},
            run_name=f"{pipeline.name} {time.strftime('%Y-%m-%d %H:%M:%S')}",
            experiment_name=pipeline.name,
            namespace=namespace,
            enable_caching=use_cache,
        )
    except kfp_server_api.ApiException as error:
        remedy = "Check KFP_TOKEN." if error.status in (401, 403) else "Look at the ml-pipeline pod's log."
        raise PlatformError(f"Kubeflow Pipelines at {host} answered {error.status} {error.reason}. {remedy}") from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise PlatformError(
            f"cannot reach Kubeflow Pipelines at {host}. Check KFP_HOST and the network, or leave it empty to run here."
        ) from error
    return f"{host.rstrip('/')}/#/runs/details/{run.run_id}"
