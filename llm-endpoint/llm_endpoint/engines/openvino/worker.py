"""The process that computes: GenAI's binding holds Python's interpreter lock for a whole step, up to seconds.

Run as `python -m llm_endpoint.engines.openvino.worker`. Reads one call per line on standard input, as a JSON list of a
name and its arguments, and answers each with one line: `{"result": ...}` or `{"error": message}`. The first call is
`load`. Ends with its input, so it cannot outlive the endpoint.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from llm_endpoint.engines.openvino.core import GenAiCore, load_core
from llm_endpoint.engines.seam import Sampling
from llm_endpoint.errors import EndpointError


class Worker:
    """Runs calls on the core that the first of them loads."""

    def __init__(self) -> None:
        self._core: GenAiCore | None = None

    def call(self, name: str, arguments: list[Any]) -> Any:
        """Run one call; what it returns can be written as JSON."""
        if name == "load":
            folder, options = arguments
            self._core = load_core(Path(folder), **options)
            return self._core.context_length
        assert self._core is not None  # noqa: S101 - the endpoint's own protocol
        if name == "add":
            key, prompt_ids, sampling, stop_ids = arguments
            return self._core.add(key, prompt_ids, Sampling(**sampling), frozenset(stop_ids))
        if name == "cancel":
            return self._core.cancel(*arguments)
        return [[step.key, step.token_ids, step.finish_reason] for step in self._core.step()]


def main() -> None:
    """Answer calls until there are none."""
    # OpenVINO would report its use to its makers, from a forked process that may outlive this one
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the endpoint decides when to end
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever libraries print must not get between
    worker = Worker()
    for line in sys.stdin.buffer:
        name, *arguments = json.loads(line)
        try:
            reply = {"result": worker.call(name, arguments)}
        except EndpointError as error:
            reply = {"error": str(error)}
        try:
            replies.write(json.dumps(reply, separators=(",", ":")).encode() + b"\n")
            replies.flush()
        except BrokenPipeError:
            break  # the endpoint is gone
    os._exit(0)  # the model needs no tidying up


if __name__ == "__main__":
    main()
