"""Become an image's process: `python enter.py SPEC`, run by root in fresh mount, pid, net and ipc namespaces.

What a container runtime does with a hardened pod: read-only root, tmpfs only where the image says that it writes, a
network of its own with nothing but loopback, the image's user without any capability or way to a new one. It stands
alone, since the checkout is out of sight after the chroot.
"""

import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_DEVICES = ("null", "zero", "full", "random", "urandom")


def main() -> None:
    """Mount, drop every right, and run the command of the specification; never comes back."""
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    raise_loopback()
    make_root(Path(spec["root"]), spec)
    os.chroot(spec["root"])
    os.chdir(spec["workdir"])
    drop_rights()
    os.setgroups([])
    os.setresgid(spec["gid"], spec["gid"], spec["gid"])
    os.setresuid(spec["uid"], spec["uid"], spec["uid"])
    os.execvpe(spec["command"][0], spec["command"], spec["environment"])


def drop_rights() -> None:
    """No capability can be had again after the change of user."""
    library = ctypes.CDLL(None, use_errno=True)
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text(encoding="utf-8"))
    calls = [(_PR_CAPBSET_DROP, capability) for capability in range(last + 1)] + [(_PR_SET_NO_NEW_PRIVS, 1)]
    for call, argument in calls:
        if library.prctl(call, argument, 0, 0, 0):
            raise OSError(ctypes.get_errno(), f"prctl {call} failed")


def make_root(root: Path, spec: dict[str, Any]) -> None:
    """Mount the image's files read-only, with what a runtime adds to them."""
    mount("--bind", str(root), str(root))
    for folder in (*spec["writable"], *spec["mounted"], "/dev", "/proc", "/sys"):
        (root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
    mount("-t", "proc", "proc", str(root / "proc"))
    mount("--bind", "-o", "ro", "/sys", str(root / "sys"))
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(root / "dev"))
    for device in _DEVICES:
        (root / "dev" / device).touch()
        mount("--bind", f"/dev/{device}", str(root / "dev" / device))
    (root / "dev" / "shm").mkdir()
    mount("-t", "tmpfs", "-o", "mode=1777,size=64m", "tmpfs", str(root / "dev" / "shm"))
    for folder in spec["writable"]:
        owner = f"uid={spec['uid']},gid={spec['gid']},mode=0770"
        mount("-t", "tmpfs", "-o", owner, "tmpfs", str(root / folder.lstrip("/")))
    for folder, source in spec["mounted"].items():
        mount("--bind", source, str(root / folder.lstrip("/")))
        mount("-o", "remount,bind,ro", str(root / folder.lstrip("/")))
    mount("-o", "remount,bind,ro", str(root))


def mount(*arguments: str) -> None:
    """Mount as the command line tool does, and succeed."""
    subprocess.run(["mount", *arguments], check=True)


def raise_loopback() -> None:
    """Bring `lo` up: a fresh network namespace has it down."""
    get_flags, set_flags, up = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh", b"lo", 0)
        flags = struct.unpack("16sh", fcntl.ioctl(control, get_flags, request))[1]
        fcntl.ioctl(control, set_flags, struct.pack("16sh", b"lo", flags | up))


if __name__ == "__main__":
    main()
