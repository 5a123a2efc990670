"""The tests' stand-in for a LangSmith server in a process of its own, told what to do line by line.

    python -m benchmarks.trace_sink

Prints its address; then reads `count` (prints the traces received), `ok` or `hang` (how it behaves from then on).
"""

import json
import subprocess
import sys
import time
from email.parser import BytesParser
from email.policy import HTTP
from typing import Self

from benchmarks.server_process import child_environment


class TraceSink:
    """The process; use as a context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.trace_sink"], env=child_environment(),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.address = self._read()
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def behave(self, mode: str) -> None:
        """`ok` or `hang`."""
        self._ask(mode)

    def traces(self) -> int:
        """Traces received since the start whose root has ended."""
        return int(self._ask("count"))

    def wait_for(self, traces: int, seconds: float) -> int:
        """Wait until there are so many; how many there are."""
        ended = time.monotonic() + seconds
        while (found := self.traces()) < traces and time.monotonic() < ended:
            time.sleep(0.2)
        return found

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)
        return self._read()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def main() -> None:
    """Serve until the input ends."""
    from support.langsmith_server import LangSmithServer  # type: ignore[import-not-found]

    class Sink(LangSmithServer):  # type: ignore[misc]
        """Takes updates of runs too: LangSmith's own tracer sends a run when it starts and again when it ends."""

        def _take_parts(self, content_type: str, body: bytes) -> None:
            message = BytesParser(policy=HTTP).parsebytes(
                b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body
            )
            for part in message.iter_parts():
                _, run_id, *name = str(part.get_param("name", header="Content-Disposition")).split(".")
                if not name:  # inputs and outputs come in parts of their own, and are not looked at
                    self.runs.setdefault(run_id, {}).update(json.loads(bytes(part.get_payload(decode=True))))

    server = Sink()
    print(server.address, flush=True)
    for line in sys.stdin:
        if line.strip() == "count":
            roots = [run for run_id, run in list(server.runs.items()) if run.get("trace_id") == run_id]
            print(sum(bool(run.get("end_time")) for run in roots), flush=True)
        else:
            server.mode = line.strip()
            print("done", flush=True)


if __name__ == "__main__":
    main()
