"""Running a compiled graph: here through kfp.local, or on a cluster's Kubeflow Pipelines."""

import io
import logging
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
_EXECUTING = re.compile(r"Executing task .*?'([\w-]+)'")


class StepFailed(PlatformError):
    """A step ended with an error; the message holds the step's own last words."""


class _StepLog(io.TextIOBase):
    """Passes the steps' output on and remembers the last error line."""

    def __init__(self, target: Any) -> None:
        self.target = target
        self.tail: deque[str] = deque(maxlen=15)
        self.errors: list[str] = []
        self._partial = ""

    def write(self, text: str) -> int:
        self.target.write(text)
        self.target.flush()
        *lines, self._partial = (self._partial + text).split("\n")
        for line in lines:
            plain = _ANSI.sub("", line).strip()
            if plain.startswith(ERROR_PREFIX):
                self.errors = [plain.removeprefix(ERROR_PREFIX)]
            elif self.errors and plain and not plain.startswith("-"):
                self.errors.append(plain)
            if plain:
                self.tail.append(plain)
        return len(text)

    def flush(self) -> None:
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


def run_here(pipeline: Any, home: Path, use_cache: bool) -> Path:
    """Run a graph on this machine, step after step.

    Args:
        pipeline: A compiled kfp pipeline.
        home: Folder for runs and the cache.
        use_cache: Skip steps whose inputs, code and parameters are those of an earlier run.

    Returns:
        Folder of the run, with one folder a step.

    Raises:
        StepFailed: With the last words of the step that failed.
    """
    from kfp import local

    runs = (home / "runs").resolve()
    runs.mkdir(parents=True, exist_ok=True)
    log = _StepLog(sys.stdout)
    with warnings.catch_warnings(), _step_environment(), redirect_stdout(log):  # type: ignore[type-var]
        warnings.simplefilter("ignore")
        logging.getLogger().setLevel(logging.WARNING)
        local.init(
            runner=local.SubprocessRunner(use_venv=False),
            pipeline_root=str(runs),
            raise_on_error=True,
            enable_caching=use_cache,
            cache_root=str((home / "cache" / "steps").resolve()),
        )
        try:
            pipeline()
        except RuntimeError as error:
            cause = "\n".join(log.errors) or "\n".join(log.tail)
            raise StepFailed(f"{_failed_step(error)}: {cause}") from error
    return max(runs.glob(f"{pipeline.name}-*"), key=lambda folder: folder.stat().st_mtime)


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
