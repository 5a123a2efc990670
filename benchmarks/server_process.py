"""Servers as processes of their own, and what they use: processor seconds and memory, from /proc."""

import http.client
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[1]
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "OMP_NUM_THREADS", "VIRTUAL_ENV", "LD_LIBRARY_PATH")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def child_environment() -> dict[str, str]:
    """A small part of ours: no switch of this shell may change what is measured."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return inherited | {"PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in (".", "llm-endpoint", "tests"))}


class ServerProcess:
    """`python -m` of a module that listens on a port; use as a context manager.

    Args:
        arguments: Module and its arguments.
        port: It answers here.
        path: 200 there means that it is ready.
        folder: For its log, and where it runs.
        environment: Added to `child_environment`.
    """

    def __init__(
        self, arguments: Sequence[str], port: int, path: str, folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.port, self._path = port, path
        self._log = folder / f"{arguments[0]}-{port}.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *arguments], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=child_environment() | dict(environment or {}),
            )  # fmt: skip
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        ended = time.monotonic() + 180
        while time.monotonic() < ended and self._process.poll() is None:
            if self.get(self._path)[0] == 200:
                return self
            time.sleep(0.1)
        self.stop()
        sys.exit(f"error: the server did not start:\n{self.log()[-2000:]}")

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def get(self, path: str) -> tuple[int, str]:
        """Status and body; 0 if it does not answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def metric(self, name: str, **labels: str) -> float:
        """Sum of a metric's values with these labels, at /metrics."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        lines = [line for line in self.get("/metrics")[1].splitlines() if line.startswith((f"{name}{{", f"{name} "))]
        return sum(float(line.rpartition(" ")[2]) for line in lines if all(part in line for part in wanted))

    def cpu_seconds(self) -> float:
        """User and system time of all its threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident_mib(self) -> float:
        """Memory."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE / 2**20

    def running(self) -> bool:
        """Whether it lives."""
        return self._process.poll() is None

    def log(self) -> str:
        """What it has printed."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """End it; its exit code."""
        if self.running():
            self.terminate()
            try:
                self._process.wait(45)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
        return int(self._process.returncode)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    return {
        "cpu": cpu.partition(":")[2].strip() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
    }
