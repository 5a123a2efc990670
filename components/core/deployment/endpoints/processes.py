"""The processes of an endpoint with all that they started, also when their first one has died."""

import contextlib
import os
import socket
import time
from pathlib import Path
from typing import Any

from components.core.deployment.endpoints.record import EndpointRecord
from components.core.deployment.local_servers import HERE, Server, end_server
from components.core.errors import ConfigError

KEYS_VARIABLE = "API_KEYS_DIR"
"""Tells a deployment where the keys are that it asks for."""
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
    end_server(server)
    left = [*members, *family(server)]
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=_FORCED_SECONDS)
    return bool(members)


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
