"""The steps of a run on a cluster, read from the workflow's nodes that Kubeflow Pipelines reports.

A container step `finetune-model` is three nodes there: `finetune-model-driver` (a pod that looks into the cache),
`finetune-model`, and inside it `executor` (the pod that works; `executor(0)`, `executor(1)`, ... where it may be
tried again). The API reports their names, states and times but not their pods; a pod's name follows from the path of
its node.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

REFUSED_STEP = "record-refused-run"
"""Name of the step that runs when the gate refuses a model, and only then."""

OVER = {"SUCCEEDED", "FAILED", "CANCELED"}
"""States of a run that do not change any more."""

WAITING, PENDING, RUNNING = "waiting", "pending", "running"
SUCCEEDED, CACHED, SKIPPED, FAILED, CANCELLED = "succeeded", "cached", "skipped", "failed", "cancelled"

_ENDED_EARLY = {"FAILED": FAILED, "SKIPPED": SKIPPED, "RUNTIME_STATE_UNSPECIFIED": SKIPPED}
"""Nodes that never came to work; the API has no word for one that was left out because another failed."""


@dataclass(frozen=True)
class Task:
    """A container step as the pipeline defines it."""

    name: str
    """What people call it."""
    node: str
    """Path of its node below the workflow, for example `root.condition-1.upload-model`."""
    retried: bool
    """It may be tried again."""

    @property
    def key(self) -> str:
        """Name of its node."""
        return self.node.rpartition(".")[2]


@dataclass(frozen=True)
class Step:
    """A step of a run at one moment."""

    name: str
    state: str
    started: datetime | None = None
    seconds: float = 0.0
    """How long it has taken, once it has ended."""
    attempt: int = 1
    pod: str | None = None
    """The pod to ask for a log: the one that works, or the driver when it has not come to work."""


def tasks_of(package: dict[str, Any]) -> list[Task]:
    """All container steps of a submitted pipeline, each after those that it needs."""
    spec = package.get("pipeline_spec", package)
    return list(_tasks(spec, spec["root"]["dag"]["tasks"], "root"))


def _tasks(spec: dict[str, Any], tasks: dict[str, Any], path: str) -> Iterator[Task]:
    for key in _in_order(tasks):
        component = spec["components"][tasks[key]["componentRef"]["name"]]
        if "dag" in component:
            yield from _tasks(spec, component["dag"]["tasks"], f"{path}.{key}")
        else:
            name = tasks[key].get("taskInfo", {}).get("name", key)
            yield Task(name, f"{path}.{key}", "retryPolicy" in tasks[key])


def _in_order(tasks: dict[str, Any]) -> list[str]:
    order: list[str] = []
    while len(order) < len(tasks):
        # Sorted first: a compiled pipeline keeps no order of its own.
        left = sorted(set(tasks) - set(order))
        order += [key for key in left if set(tasks[key].get("dependentTasks", ())) <= set(order)]
    return order


def steps_of(run: Any, tasks: list[Task]) -> list[Step]:
    """Where the steps of a run stand."""
    nodes = (run.run_details and run.run_details.task_details) or []
    workflow = next((child.pod_name.rpartition("-")[0] for node in nodes for child in node.child_tasks or ()), "")
    states = {WAITING: SKIPPED} if run.state in OVER else {}
    if was_cancelled(run):
        states[FAILED] = CANCELLED
    steps = [_step(task, nodes, workflow) for task in tasks]
    return [replace(step, state=states.get(step.state, step.state)) for step in steps]


def was_cancelled(run: Any) -> bool:
    """Somebody ended the run; the server may call it failed once its pods are gone."""
    past = {status.state for status in run.state_history or ()}
    return bool({"CANCELING", "CANCELED"} & {run.state, *past})


def _step(task: Task, nodes: list[Any], workflow: str) -> Step:
    by_name = {node.display_name: node for node in nodes}
    driver, node = by_name.get(f"{task.key}-driver"), by_name.get(task.key)
    if node is None:
        if driver is None:
            return Step(task.name, WAITING)
        state = _ENDED_EARLY.get(driver.state, PENDING)
        return Step(task.name, state, driver.start_time, _seconds(driver), pod=_pod(workflow, task, -1))
    works = _executors(node, nodes)
    attempt = max((_attempt(work) for work in works), default=0)
    state = _state(node, [work for work in works if _attempt(work) == attempt])
    pod = _pod(workflow, task, attempt)
    return Step(task.name, state, node.start_time, _seconds(node), attempt + 1, pod)


def _executors(node: Any, nodes: list[Any]) -> list[Any]:
    # The API does not say which executor is whose. Their times do: the graph runs one step after the other.
    ended = node.end_time if _seconds(node) or node.state in {"SUCCEEDED", "FAILED"} else None
    return [
        other
        for other in nodes
        if other.display_name.startswith("executor")
        and other.start_time >= node.start_time
        and (ended is None or other.start_time <= ended)
    ]


def _attempt(executor: Any) -> int:
    number = executor.display_name.removeprefix("executor").strip("()")
    return int(number) if number else 0


def _state(node: Any, works: list[Any]) -> str:
    states = {work.state for work in works}
    if node.state == "SUCCEEDED":
        return CACHED if "SKIPPED" in states else SUCCEEDED
    if node.state in _ENDED_EARLY:
        return _ENDED_EARLY[node.state]
    return PENDING if not works or "PENDING" in states else RUNNING


def _seconds(node: Any) -> float:
    # A node that has not ended carries a time before 1971.
    return float((node.end_time - node.start_time).total_seconds()) if node.end_time.year > 1970 else 0.0


def _pod(workflow: str, task: Task, attempt: int) -> str:
    """Name of a step's pod; attempt -1 is its driver."""
    if attempt < 0:
        template, node = "system-container-driver", f"{task.node}-driver"
    elif task.retried:
        template, node = "retry-system-container-impl", f"{task.node}.executor({attempt})"
    else:
        template, node = "system-container-impl", f"{task.node}.executor"
    return f"{workflow}-{template}-{node_hash(f'{workflow}.{node}')}"


def node_hash(name: str) -> int:
    """The number in the name of a node's pod: FNV-1a over 32 bits."""
    value = 0x811C9DC5
    for byte in name.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value
