"""The processes of an endpoint with all that they started, also when their first one has died."""

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.core.deployment.endpoints.record import (
    EndpointFolder,
    EndpointRecord,
    endpoint_names,
    managed_folder,
    recorded_servers,
)
from components.core.deployment.local_servers import HERE, Server, free_port
from components.core.errors import ConfigError, PlatformError

KEYS_VARIABLE = "API_KEYS_DIR"
"""Tells a deployment where the keys are that it asks for."""
_STOP_SECONDS = 45.0
_FORCED_SECONDS = 10.0
_PORT_SECONDS = 5.0


def is_running(server: Server) -> bool:
    """Whether a server's own process lives."""
    return is_running_process(server.pid, server.created)


def is_running_process(pid: int, created: float) -> bool:
    """Whether a process lives, told from a later one with its number by its start."""
    import psutil

    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        return bool(abs(process.create_time() - created) < 0.05 and process.status() != psutil.STATUS_ZOMBIE)
    return False


def is_promoting(record: EndpointRecord) -> bool:
    """Whether a promotion goes on; one whose process was killed does not."""
    promotion = record.promotion
    return promotion is not None and is_running_process(promotion.pid, promotion.created)


def refuse_while_promoting(record: EndpointRecord) -> None:
    """Raise ConfigError if another process promotes a deployment of this endpoint."""
    promotion = record.promotion
    if promotion and promotion.pid != os.getpid() and is_promoting(record):
        raise ConfigError(
            f"{promotion.candidate} of {record.name} is being promoted by process {promotion.pid}. Wait for its end, "
            "or stop it: it then goes back to the former split by itself."
        )


def family(server: Server) -> list[Any]:
    """All living processes of a server: itself and what it has started, orphans too.

    A server leads a session of its own, whose number the kernel gives to nobody else while one of its members lives.
    """
    import psutil

    with contextlib.suppress(psutil.Error):
        if abs(psutil.Process(server.pid).create_time() - server.created) >= 0.05:
            # the number belongs to somebody else, so the session has no member left
            return []
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(pid) == server.pid:
                process = psutil.Process(pid)
                if process.status() != psutil.STATUS_ZOMBIE and process.create_time() >= server.created - 0.05:
                    found.append(process)
    return found


def end_family(server: Server) -> bool:
    """End a server gently, then what it left by force; False if nothing of it was running."""
    import psutil

    members = family(server)
    for process in members:
        if process.pid == server.pid:
            with contextlib.suppress(psutil.Error):
                process.terminate()
            _wait_until_ended([process], _STOP_SECONDS)
    left = [process for process in [*members, *family(server)] if _lives(process)]
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    _wait_until_ended(left, _FORCED_SECONDS)
    return bool(members)


def _wait_until_ended(processes: Sequence[Any], seconds: float) -> None:
    """A zombie has ended, too: its parent may be somebody who does not look after it for long."""
    import psutil

    ended = time.monotonic() + seconds
    while any(_lives(process) for process in processes) and time.monotonic() < ended:
        time.sleep(0.02)
    for process in processes:
        # our own children leave the table of processes by this
        with contextlib.suppress(psutil.Error, psutil.TimeoutExpired):
            process.wait(0)


def _lives(process: Any) -> bool:
    return is_running_process(process.pid, process.create_time())


def strays(folder: Path, internal: Path) -> list[Server]:
    """Processes of an endpoint that no record tells of, because the command that started them was killed.

    Args:
        folder: Of the endpoint, which the front has as an argument.
        internal: Folder of its internal key, which the deployments have in their environment.
    """
    import psutil

    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if str(folder) in process.cmdline() or process.environ().get(KEYS_VARIABLE) == str(internal):
                found.append(Server("stray", process.pid, process.create_time(), 0))
    return found


@contextmanager
def unused_port(home: Path, wanted: int) -> Iterator[int]:
    """The first port from this one on that nobody has; a server that is started in the block must be recorded there.

    A server listens only some seconds after its start, so the ports of all recorded ones count as taken.
    """
    folder = managed_folder(home)
    with (folder / ".ports").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        taken: set[int] = set()
        for name in endpoint_names(home):
            with contextlib.suppress(PlatformError):
                taken |= {server.port for server in recorded_servers(EndpointFolder(home, name).read())}
        port = free_port(wanted)
        while port in taken:
            port = free_port(port + 1)
        yield port


def is_listening(port: int) -> bool:
    """Whether anybody listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HERE, port)) == 0


def wait_until_free(port: int) -> bool:
    """Wait until nobody listens on a port; False if somebody still does after some seconds."""
    ended = time.monotonic() + _PORT_SECONDS
    while is_listening(port):
        if time.monotonic() > ended:
            return False
        time.sleep(0.05)
    return True
