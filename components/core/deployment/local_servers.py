"""Servers as processes of this machine: started, waited for, recorded, stopped.

They are told from other processes by their ids and start times, kept in `<whetstone_home>/serving/`.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.errors import PlatformError

ROOT = Path(__file__).resolve().parents[3]
HERE = "127.0.0.1"
_ENDPOINT_FOLDER = ROOT / "llm-endpoint"
_START_SECONDS = 600.0
"""A large model is converted at its first start."""
_STOP_SECONDS = 45.0
_POLL_SECONDS = 0.2


class ServingError(PlatformError):
    """A server did not start, or does not answer."""


@dataclass(frozen=True)
class Server:
    """One running process."""

    name: str
    """`api`, `ui`, or the name of a deployed model's endpoint."""
    pid: int
    created: float
    """Start of the process: a process id alone may belong to somebody else by now."""
    port: int

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://{HERE}:{self.port}"


def endpoint_environment(
    model: str, home: Path, revision: str | None = None, name: str | None = None, namespace: str | None = None
) -> dict[str, str]:
    """The environment of an endpoint process: this one's, with what is served and where.

    Args:
        model: Model folder or Hub id.
        home: Caches and traces.
        revision: Commit of a Hub id.
        name: In the KServe and OpenAI paths; none keeps the endpoint's own.
        namespace: For which it works; none leaves it to the environment.
    """
    environment = dict(os.environ) | {"WHETSTONE_HOME": str(home.resolve()), "HOST": HERE, "MODEL": model}
    environment["PYTHONPATH"] = os.pathsep.join([str(_ENDPOINT_FOLDER), str(ROOT)])
    environment.pop("MODEL_REVISION", None)
    more = {"MODEL_REVISION": revision, "SERVED_MODEL_NAME": name, "KFP_NAMESPACE": namespace}
    return environment | {key: value for key, value in more.items() if value}


def start_api(environment: dict[str, str], folder: Path, port: int, name: str = "api") -> Server:
    """Start an endpoint and wait until it is warm.

    Args:
        environment: Of the process.
        folder: Gets its log, `<name>.log`.
        port: Where it listens; the next free port if it is taken.
        name: Of the server.

    Raises:
        ServingError: With the endpoint's own last words, or if its code is not on this machine.
    """
    if not (_ENDPOINT_FOLDER / "llm_endpoint").is_dir():
        raise ServingError(
            f"the endpoint's code is not on this machine ({_ENDPOINT_FOLDER}): the pipeline's image has none. Deploy "
            "to a cluster, or serve the model from a checkout: make serve MODEL=..."
        )
    command = [sys.executable, "-m", "llm_endpoint", "--port"]
    return start_server(name, command, environment, port, folder, "/readyz", "the model is being loaded")


def start_server(
    name: str, command: list[str], environment: dict[str, str], port: int, folder: Path, path: str, doing: str
) -> Server:
    """Start a server and wait until it is ready.

    Args:
        name: Of the server.
        command: Its last argument, the port, is added.
        environment: Of the process.
        port: Where it listens; the next free port if it is taken, also while the server starts.
        folder: Gets its log, `<name>.log`.
        path: Answers 200 when it is ready.
        doing: What is said while it starts.

    Raises:
        ServingError: With the server's own last words.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = port
    while True:
        port = free_port(wanted)
        server = spawn(name, [*command, str(port)], environment, port, folder)
        try:
            wait_for(server, path, folder, doing)
        except ServingError:
            end_server(server)
            # somebody came first between the look at the port and the server's own bind
            if port != free_port(port):
                continue
            raise
        except BaseException:
            end_server(server)
            raise
        return server


def spawn(name: str, command: list[str], environment: dict[str, str], port: int, folder: Path) -> Server:
    """Start a process that stays when this one ends; what it prints goes to `<folder>/<name>.log`."""
    import psutil

    with (folder / f"{name}.log").open("w", encoding="utf-8") as log:
        # in a session of its own, so that it stays when the terminal goes
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    return Server(name, process.pid, psutil.Process(process.pid).create_time(), port)


def wait_for(server: Server, path: str, folder: Path, doing: str, seconds: float = _START_SECONDS) -> None:
    """Wait until a path of a server answers 200, `seconds` at most.

    Raises:
        ServingError: If it ends, with its own last words, if another process answers at its port, or if it is not
            ready in time.
    """
    import httpx

    log = folder / f"{server.name}.log"
    started = said = time.monotonic()
    while time.monotonic() - started < seconds:
        process = _process(server)
        if process is None:
            raise ServingError(f"the {server.name} server ended: {_last_words(log)} Its log is {log}.")
        with contextlib.suppress(httpx.HTTPError):
            status = httpx.get(server.address + path, timeout=2.0).status_code
            if not _listens(process, server.port):
                raise ServingError(f"another process answers at port {server.port}. Choose another port.")
            if status == 200:
                return
        if time.monotonic() - said > 5:
            said = time.monotonic()
            print(f"  {doing} ({said - started:.0f} s)", flush=True)
        time.sleep(_POLL_SECONDS)
    raise ServingError(f"the {server.name} server is not ready after {seconds:.0f} s. Its log is {log}.")


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


def write_record(record: Path, servers: Sequence[Server]) -> None:
    """Remember running servers, so that another process can end them."""
    record.parent.mkdir(parents=True, exist_ok=True)
    content = [vars(server) for server in servers]
    record.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def end_recorded(record: Path) -> list[Server]:
    """End the servers of a record and remove it; gives back those that were still running.

    Raises:
        ServingError: If the record is damaged.
    """
    ended = [server for server in _read_record(record) if end_server(server)]
    record.unlink(missing_ok=True)
    return ended


def recorded_port(record: Path) -> int | None:
    """Where the server of a record listens; none where there is no record."""
    servers = _read_record(record)
    return servers[0].port if servers else None


def _read_record(record: Path) -> list[Server]:
    try:
        return [Server(**entry) for entry in json.loads(record.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise ServingError(f"{record} is damaged ({error}). End the servers by hand and remove the file.") from error


def _process(server: Server) -> Any:
    """The process, if it is still the one that was started and has not ended."""
    import psutil

    with contextlib.suppress(psutil.Error):
        process = psutil.Process(server.pid)
        if abs(process.create_time() - server.created) < 0.05 and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def _listens(process: Any, port: int) -> bool:
    """Whether it is this process, or one that it started, that listens at a port."""
    import psutil

    with contextlib.suppress(psutil.Error):
        return any(
            found.status == psutil.CONN_LISTEN and found.laddr.port == port
            for each in (process, *process.children(recursive=True))
            for found in each.connections("inet")
        )
    return False


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line.lower()]
    words = (errors or lines or ["it said nothing."])[-1]
    return words.partition("error: ")[2] or words


def free_port(wanted: int) -> int:
    """The first free port from this one on.

    Raises:
        ServingError: If a hundred are taken.
    """
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
