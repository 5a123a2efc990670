"""The real endpoint as its own process on a free port of this machine."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]
STARTER = ROOT / "components" / "starter" / "model"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class EndpointServer:
    """`python -m llm_endpoint` with its log in a file.

    Args:
        folder: For the log and WHETSTONE_HOME.
        model: Served; the starter's base model by default, which answers anything but is real.
        ready: Wait until it takes requests.
        environment: Settings, by variable.
    """

    def __init__(self, folder: Path, model: Path | str = STARTER, ready: bool = True, **environment: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_file = folder / f"endpoint-{self.port}.log"
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("LANG", "MODEL", "API_KEY"))}
        settings = {
            "MODEL": str(model),
            "HOST": "127.0.0.1",
            "HTTP_PORT": str(self.port),
            "WHETSTONE_HOME": str(folder),
            "PYTHONPATH": f"{ROOT / 'llm-endpoint'}",
            # several of these run on the two cores of a CI machine
            "THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        with self.log_file.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "llm_endpoint"], cwd=folder, env=clean | settings | environment,
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        if ready:
            self.wait_until_ready()

    def __enter__(self) -> "EndpointServer":
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    @property
    def log(self) -> str:
        """What it has printed."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def wait_until_ready(self, seconds: float = 120.0) -> None:
        """Block until /readyz is 200."""
        ended = time.monotonic() + seconds
        while time.monotonic() < ended:
            if self.process.poll() is not None:
                raise AssertionError(f"the endpoint ended with {self.process.returncode}:\n{self.log}")
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"the endpoint is not ready:\n{self.log}")

    def metric(self, name: str, **labels: str) -> float:
        """The value of a metric, 0 where it has not been counted."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        total = 0.0
        for line in httpx.get(f"{self.url}/metrics", timeout=5).text.splitlines():
            if line.startswith((f"{name}{{", f"{name} ")) and all(part in line for part in wanted):
                total += float(line.rpartition(" ")[2])
        return total

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """End it; its exit code."""
        if self.process.poll() is None:
            self.terminate()
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        return int(self.process.returncode)


def ask(
    server: EndpointServer, question: str = "Who?", context: str = "Ada kept the light.", **more: Any
) -> httpx.Response:
    """POST /generate."""
    return httpx.post(f"{server.url}/generate", json={"question": question, "context": context, **more}, timeout=60)
