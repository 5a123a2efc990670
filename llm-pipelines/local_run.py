"""Running a compiled graph on this machine, through kfp.local."""

import hashlib
import io
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

# mypy cannot follow a folder whose name has a hyphen.
from .step_words import StepFailed, StepWords  # type: ignore[import-not-found]

ROOT = Path(__file__).resolve().parents[1]

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_EXECUTING = re.compile(r"Executing task '([\w-]+)'")
_OUTPUTS = re.compile(r"Task '[\w-]+' outputs:")
_CHATTER = re.compile(
    r"Running pipeline: |Streamed logs:|^-{20,}$|Task '[\w-]+' (has no outputs|finished)"
    r"|Pipeline '[\w-]+' finished|Cleaned up workspace"
)


class _StepLog(io.TextIOBase):
    """Passes the steps' output on without the runner's own chatter, and remembers the last error."""

    def __init__(self, target: Any) -> None:
        self.target = target
        self.words = StepWords(indent="    ")
        self._partial = ""
        self._in_outputs = False

    def write(self, text: str) -> int:
        """Take in a piece of output; whole lines go on."""
        *lines, self._partial = (self._partial + text).split("\n")
        for line in lines:
            self._take(_ANSI.sub("", line).rstrip())
        self.target.flush()
        return len(text)

    def _take(self, line: str) -> None:
        started = _EXECUTING.search(line)
        if self._in_outputs or _OUTPUTS.search(line):
            # The runner prints all outputs of a step, then a rule.
            self._in_outputs = line != "-" * 80
        elif started:
            self.words = StepWords(indent="    ")
            self.target.write(f"\n== {started.group(1)}\n")
        elif not _CHATTER.search(line):
            words = self.words.take(line)
            self.target.write(f"{words}\n" if words else "")

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


def code_digest(folder: Path = ROOT / "components") -> str:
    """Names the code that steps run: 16 hexadecimal digits of all its Python files.

    kfp's own key knows a step's file only; on a cluster the image's tag stands for the library below it.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


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
            cache_root=str((home / "cache" / "steps" / code_digest()).resolve()),
        )
        try:
            return dict(pipeline().outputs)
        except RuntimeError as error:
            raise StepFailed(f"{_failed_step(error)}: {log.words.cause()}") from error


def _failed_step(error: RuntimeError) -> str:
    found = re.search(r"Inner task failed: .*?'([\w-]+)'", _ANSI.sub("", str(error)))
    return f"step {found.group(1)} failed" if found else "the run failed"
