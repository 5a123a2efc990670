"""A container of a built image: started as a hardened pod would start it, asked from inside, stopped."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.core.errors import StorageError

WRITABLE = ("/tmp", "/var/lib/whetstone")
"""The only folders that the images write to."""
_NAMESPACES = ("--mount", "--net", "--pid", "--ipc", "--uts")
_ENTER = Path(__file__).with_name("enter.py")


@dataclass(frozen=True)
class Config:
    """What an image says about its process."""

    user: str
    workdir: str
    entrypoint: list[str]
    environment: dict[str, str]
    health_check: list[str]
    """Command, empty where the image has none."""

    @classmethod
    def of(cls, inspected: Mapping[str, Any]) -> "Config":
        """Read the output of `buildah inspect --type image`."""
        config = inspected["Docker"]["config"]
        test = config.get("Healthcheck", {}).get("Test", ["NONE"])
        return cls(
            user=config["User"],
            workdir=config["WorkingDir"],
            entrypoint=config["Entrypoint"],
            environment=dict(entry.split("=", 1) for entry in config["Env"]),
            health_check=test[1:] if test[0] == "CMD" else [],
        )


@dataclass
class Container:
    """A process in the files of an image."""

    config: Config
    root: Path
    """The image's files, mounted and writable until the start."""
    log: Path
    mounted: Mapping[str, str] = field(default_factory=dict)
    """Read-only folders by where they are mounted."""
    process: "subprocess.Popen[bytes]" = field(init=False)

    def start(self, *arguments: str) -> "Container":
        """Run the image's entry point as its own user with a read-only root."""
        uid, gid = map(int, self.config.user.split(":"))
        spec = {"root": str(self.root), "workdir": self.config.workdir, "uid": uid, "gid": gid}
        spec |= {"command": [*self.config.entrypoint, *arguments], "environment": self.config.environment}
        spec |= {"writable": WRITABLE, "mounted": dict(self.mounted)}
        file = self.log.with_suffix(".json")
        file.write_text(json.dumps(spec), encoding="utf-8")
        command = ["unshare", *_NAMESPACES, "--fork", "--kill-child", sys.executable, str(_ENTER), str(file)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def execute(self, command: Sequence[str], as_root: bool = False) -> "subprocess.CompletedProcess[str]":
        """Run a command beside the process, as the image's user."""
        uid, gid = ("0", "0") if as_root else self.config.user.split(":")
        entered = ["nsenter", "--target", str(self.first_process()), *_NAMESPACES, "--root", "--wd"]
        entered += ["--setuid", uid, "--setgid", gid, "--", *command]
        return subprocess.run(entered, env=self.config.environment, capture_output=True, text=True, timeout=120)

    def wait_healthy(self, seconds: float) -> float:
        """Ask the image's own health check until it says yes; the seconds that took.

        Raises:
            StorageError: If the process ends, or says nothing in time; with its last words.
        """
        started = time.monotonic()
        while time.monotonic() - started < seconds:
            if self.process.poll() is not None:
                raise StorageError(f"the process ended with {self.process.returncode}: {self.last_words()}")
            if self.first_process() and not self.execute(self.config.health_check).returncode:
                return time.monotonic() - started
            time.sleep(0.3)
        raise StorageError(f"the health check did not answer in {seconds:.0f} s: {self.last_words()}")

    def stop(self) -> float:
        """Send SIGTERM, as a pod's end does; the seconds until the process was gone."""
        started = time.monotonic()
        first = self.first_process()
        if first:
            os.kill(first, 15)
        try:
            self.process.wait(40)
        finally:
            self.process.kill()
            self.process.wait()
        return time.monotonic() - started

    def first_process(self) -> int:
        """Id, as seen from here, of the container's process 1; 0 when there is none."""
        try:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="utf-8")
        except OSError:
            return 0
        return int((children.split() or ["0"])[0])

    def last_words(self) -> str:
        """End of the process's output."""
        return " / ".join(self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:])
