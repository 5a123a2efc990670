"""What a stand-in of Kubeflow Trainer (trainer_server) holds, and what the pods of its TrainJobs do.

`script` only writes their log and their end; `processes` runs the job's own command, with the variables that Trainer's
torch plugin sets, one process for each node.
"""

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Pod:
    """A pod of a TrainJob and its log."""

    name: str
    job: str
    index: int
    phase: str = "Pending"
    log: list[str] = field(default_factory=list)
    process: Any = None


@dataclass
class TrainerCluster:
    """What the stand-in holds, and what was asked of it."""

    jobs: dict[str, Any] = field(default_factory=dict)
    pods: dict[str, Pod] = field(default_factory=dict)
    claims: dict[str, list[str]] = field(default_factory=lambda: {"whetstone-checkpoints": ["ReadWriteMany"]})
    runtimes: set[str] = field(default_factory=lambda: {"torch-distributed"})
    events: list[Any] = field(default_factory=list)
    installed: bool = True
    refusals: list[tuple[str, str, int, str]] = field(default_factory=list)
    """(method, pattern of the path, status, message), answered every time."""
    created: list[Any] = field(default_factory=list)
    """Every TrainJob that was ever created, as it was sent."""
    calls: list[tuple[str, str]] = field(default_factory=list)
    behaviour: Callable[["TrainerCluster", str], None] = lambda cluster, name: None
    """What the controllers do with a new TrainJob, in a thread of its own."""

    def __post_init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())

    def start_pods(self, name: str, phase: str = "Running") -> list[Pod]:
        """Make the pods of a TrainJob, or change their phase."""
        with self.changed:
            there = [pod for pod in self.pods.values() if pod.job == name]
            for pod in there:
                pod.phase = phase
            if there:
                return there
            nodes = self.jobs[name]["spec"]["trainer"]["numNodes"]
            pods = [Pod(f"{name}-node-0-{index}-abcde", name, index, phase) for index in range(nodes)]
            self.pods |= {pod.name: pod for pod in pods}
            self.changed.notify_all()
        return pods

    def write(self, pod: Pod, *lines: str) -> None:
        """Add lines to a pod's log."""
        with self.changed:
            pod.log.extend(lines)
            self.changed.notify_all()

    def end(self, name: str, condition: str) -> None:
        """Finish a TrainJob: its pods end, and it gets the condition."""
        with self.changed:
            for pod in self.pods.values():
                if pod.job == name:
                    pod.phase = "Succeeded" if condition == "Complete" else "Failed"
            if name in self.jobs:
                now = "2026-01-01T00:00:00Z"
                done = {"type": condition, "status": "True", "reason": "x", "message": "", "lastTransitionTime": now}
                self.jobs[name]["status"] = {"conditions": [done]}
            self.changed.notify_all()

    def remove(self, name: str) -> None:
        """Delete a TrainJob with its pods, whose processes are asked to end."""
        with self.changed:
            del self.jobs[name]
            for pod in [pod for pod in self.pods.values() if pod.job == name]:
                if pod.process:
                    pod.process.terminate()
                pod.phase = "Gone"
                del self.pods[pod.name]
            self.changed.notify_all()


def script(*lines: str, condition: str = "Complete") -> Callable[[TrainerCluster, str], None]:
    """Pods whose first node logs these lines, and that end like this."""

    def run(cluster: TrainerCluster, name: str) -> None:
        first = cluster.start_pods(name)[0]
        cluster.write(first, *lines)
        cluster.end(name, condition)

    return run


def processes(environment: dict[str, str], root: Path) -> Callable[[TrainerCluster, str], None]:
    """Nodes that are real processes on this machine."""

    def run(cluster: TrainerCluster, name: str) -> None:
        import socket

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        trainer = cluster.jobs[name]["spec"]["trainer"]
        pods = cluster.start_pods(name)
        for pod in pods:
            given = {entry["name"]: entry["value"] for entry in trainer.get("env", [])}
            place = {"PET_NNODES": str(len(pods)), "PET_NODE_RANK": str(pod.index), "PET_MASTER_ADDR": "127.0.0.1"}
            pod.process = subprocess.Popen(
                [sys.executable, *trainer["command"][1:], *trainer.get("args", [])], cwd=root,
                env={**environment, **given, **place, "PET_MASTER_PORT": str(port), "PET_NPROC_PER_NODE": "auto"},
                text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            threading.Thread(target=_read, args=(cluster, pod), daemon=True).start()
        codes = [pod.process.wait() for pod in pods]
        cluster.end(name, "Failed" if any(codes) else "Complete")

    return run


def _read(cluster: TrainerCluster, pod: Pod) -> None:
    for line in pod.process.stdout:
        cluster.write(pod, line.rstrip("\n"))
