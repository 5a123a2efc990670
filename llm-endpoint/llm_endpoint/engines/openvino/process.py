"""The endpoint's side of the OpenVINO core: it asks the worker process, and waits without holding up other threads."""

import contextlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llm_endpoint.engines.seam import CoreStep, Sampling
from llm_endpoint.errors import GenerationError, ModelError

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 5.0


class OpenVinoCore:
    """One converted model in a process of its own; see `seam.Core`."""

    name = "openvino"

    def __init__(self, folder: Path, *, precision: str, max_running: int, **options: Any) -> None:
        """Start the worker and load the model.

        Args:
            folder: The converted model.
            precision: Of its weights.
            max_running: Requests at once.
            options: The other arguments of `core.load_core`.

        Raises:
            ModelError: If it cannot be loaded.
        """
        self.precision = precision
        self.max_running = max_running
        self._process = start_module("llm_endpoint.engines.openvino.worker")
        try:
            loading = dict(options, precision=precision, max_running=max_running)
            self.context_length = int(self._call("load", str(folder), loading))
        except GenerationError as error:
            self.close()
            raise ModelError(str(error)) from error

    def add(self, key: int, prompt_ids: Sequence[int], sampling: Sampling, stop_ids: frozenset[int]) -> None:
        """Take a request; see `seam.Core`.

        Raises:
            GenerationError: If the engine refuses it or is gone.
        """
        self._call("add", key, list(prompt_ids), asdict(sampling), list(stop_ids))

    def step(self) -> list[CoreStep]:
        """Advance every request; see `seam.Core`.

        Raises:
            GenerationError: If the engine fails or is gone.
        """
        return [CoreStep(key, tuple(token_ids), finish) for key, token_ids, finish in self._call("step")]

    def cancel(self, key: int) -> None:
        """Forget a request and free its memory; see `seam.Core`."""
        with contextlib.suppress(GenerationError):  # an engine that is gone runs nothing; the next step says so
            self._call("cancel", key)

    def close(self) -> None:
        """Free the model."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # a worker that is gone leaves unsent calls
                    stream.close()  # the end of its input is the worker's end
        try:
            self._process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _call(self, name: str, *arguments: Any) -> Any:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None or stdin.closed:
            raise GenerationError("the engine is closed")
        try:
            stdin.write(json.dumps([name, *arguments], separators=(",", ":")).encode() + b"\n")
            stdin.flush()
            line = stdout.readline()
        except OSError:
            line = b""
        if not line:
            raise GenerationError(f"the engine's process ended ({describe_end(self._process)}). Restart the endpoint.")
        reply = json.loads(line)
        if "error" in reply:
            raise GenerationError(reply["error"])
        return reply["result"]


def start_module(module: str) -> subprocess.Popen[bytes]:
    """Start a module of this package with pipes to it; it finds what this process can import."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(path or os.getcwd() for path in sys.path))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )


def describe_end(process: subprocess.Popen[bytes]) -> str:
    """Say how a process ended."""
    code = process.wait()
    if code == -9:
        return "killed: probably out of memory"
    return f"exit code {code}"
