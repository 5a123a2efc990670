"""The endpoint and the page as two processes of this machine: started, asked, stopped.

They are told from other processes by their ids and start times, kept in `<whetstone_home>/serving/`.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.errors import PlatformError

ROOT = Path(__file__).resolve().parents[1]
HERE = "127.0.0.1"
_START_SECONDS = 600.0
"""A large model is converted at its first start."""
_STOP_SECONDS = 45.0
ANSWER_SECONDS = 600.0
"""Longest time for one answer."""
_POLL_SECONDS = 0.2


class ServingError(PlatformError):
    """A server did not start, or does not answer."""


class QuestionRefused(ServingError):
    """The endpoint takes no such question: it is too long, most of the time."""


@dataclass(frozen=True)
class Server:
    """One running process."""

    name: str
    """`api` or `ui`."""
    pid: int
    created: float
    """Start of the process: a process id alone may belong to somebody else by now."""
    port: int

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://{HERE}:{self.port}"


def start_servers(
    model: str, home: Path, revision: str | None = None, api_port: int = 8080, ui_port: int = 8501
) -> list[Server]:
    """Start the endpoint for a model and, when it is warm, the page; servers that run already are replaced.

    Args:
        model: Model folder or Hub id.
        home: Where the logs and the record of the processes go.
        revision: Commit of a Hub id.
        api_port: Where the endpoint listens; the next free port if it is taken.
        ui_port: The same for the page.

    Raises:
        ServingError: With the endpoint's own last words.
    """
    stop_servers(home)
    folder = home / "serving"
    environment = endpoint_environment(model, home, revision)
    servers: list[Server] = []
    try:
        servers.append(start_api(environment, folder, api_port))
        port = _free_port(ui_port)
        command = [sys.executable, "-m", "streamlit", "run", "ui/app.py", "--server.port", str(port)]
        command += ["--server.address", HERE, "--server.headless", "true", "--browser.gatherUsageStats", "false"]
        # the page knows only the endpoint's address
        page_environment = _without_secrets(environment) | {"API_URL": servers[0].address}
        servers.append(_spawn("ui", command, page_environment, port, folder))
        _wait(servers[1], "/_stcore/health", folder, "the page is starting")
    except BaseException:
        for server in servers:
            end_server(server)
        raise
    record = [vars(server) for server in servers]
    (folder / "servers.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return servers


def endpoint_environment(model: str, home: Path, revision: str | None = None) -> dict[str, str]:
    """The environment of an endpoint process: this one's, with what is served and where."""
    environment = dict(os.environ) | {"WHETSTONE_HOME": str(home.resolve()), "HOST": HERE, "MODEL": model}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "llm-endpoint"), str(ROOT)])
    environment.pop("MODEL_REVISION", None)
    if revision:
        environment["MODEL_REVISION"] = revision
    return environment


def start_api(environment: dict[str, str], folder: Path, port: int) -> Server:
    """Start an endpoint and wait until it is warm.

    Args:
        environment: Of the process.
        folder: Gets its log, `api.log`.
        port: Where it listens; the next free port if it is taken.

    Raises:
        ServingError: With the endpoint's own last words.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port(port)
    server = _spawn("api", [sys.executable, "-m", "llm_endpoint", "--port", str(port)], environment, port, folder)
    try:
        _wait(server, "/readyz", folder, "the model is being loaded")
    except BaseException:
        end_server(server)
        raise
    return server


def stop_servers(home: Path) -> list[Server]:
    """End the servers that `start_servers` left running; gives back those that it ended."""
    record = home / "serving" / "servers.json"
    try:
        servers = [Server(**entry) for entry in json.loads(record.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise ServingError(f"{record} is damaged ({error}). End the servers by hand and remove the file.") from error
    ended = [server for server in servers if end_server(server)]
    record.unlink()
    return ended


def ask(address: str, question: str, context: str, client: Any = None, **fields: Any) -> dict[str, Any]:
    """Ask the endpoint a question.

    Args:
        address: Of the endpoint.
        question: Asked.
        context: Should hold the answer.
        client: An httpx.Client, where many questions share its connections.
        fields: More of the request, such as `max_new_tokens`.

    Raises:
        QuestionRefused: If it takes no such question.
        ServingError: If it does not answer.
    """
    import httpx

    try:
        body = {"question": question, "context": context, **fields}
        response = (client or httpx).post(f"{address}/generate", json=body, timeout=ANSWER_SECONDS)
        content = response.json()
    except (httpx.HTTPError, ValueError) as error:
        raise ServingError(f"the endpoint at {address} does not answer: {error}. Look at its log.") from error
    if response.status_code in (400, 413):
        raise QuestionRefused(f"the endpoint refused the question: {content.get('error')}")
    if response.status_code != 200:
        raise ServingError(f"the endpoint answered {response.status_code}: {content.get('error')}")
    return dict(content)


def _spawn(name: str, command: list[str], environment: dict[str, str], port: int, folder: Path) -> Server:
    import psutil

    with (folder / f"{name}.log").open("w", encoding="utf-8") as log:
        # in a session of its own, so that it stays when the terminal goes
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    return Server(name, process.pid, psutil.Process(process.pid).create_time(), port)


def _wait(server: Server, path: str, folder: Path, doing: str) -> None:
    import httpx

    log = folder / f"{server.name}.log"
    started = said = time.monotonic()
    while time.monotonic() - started < _START_SECONDS:
        if _process(server) is None:
            raise ServingError(f"the {server.name} server ended: {_last_words(log)} Its log is {log}.")
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(server.address + path, timeout=2.0).status_code == 200:
                return
        if time.monotonic() - said > 5:
            said = time.monotonic()
            print(f"  {doing} ({said - started:.0f} s)", flush=True)
        time.sleep(_POLL_SECONDS)
    raise ServingError(f"the {server.name} server is not ready after {_START_SECONDS:.0f} s. Its log is {log}.")


def end_server(server: Server) -> bool:
    """End a process gently, then by force; False if it had ended already."""
    import psutil

    process = _process(server)
    if process is None:
        return False
    with contextlib.suppress(psutil.Error):
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(5)
    return True


def _process(server: Server) -> Any:
    """The process, if it is still the one that was started and has not ended."""
    import psutil

    with contextlib.suppress(psutil.Error):
        process = psutil.Process(server.pid)
        if abs(process.create_time() - server.created) < 0.05 and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line.lower()]
    words = (errors or lines or ["it said nothing."])[-1]
    return words.partition("error: ")[2] or words


def _free_port(wanted: int) -> int:
    for port in _ports(wanted):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HERE, port))
            except OSError:
                continue
            return port
    raise ServingError(f"the ports {wanted} to {wanted + 99} are all taken. Choose another with API_PORT or UI_PORT.")


def _ports(wanted: int) -> Iterator[int]:
    yield from range(wanted, min(wanted + 100, 65536))


def _without_secrets(environment: dict[str, str]) -> dict[str, str]:
    """The page needs no key but API_KEY, its own."""
    secret: Callable[[str], bool] = lambda name: name.endswith(("_TOKEN", "_API_KEY", "_SECRET", "_PASSWORD"))  # noqa: E731
    return {name: value for name, value in environment.items() if not secret(name)}
