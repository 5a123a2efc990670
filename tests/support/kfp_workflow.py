"""The nodes of a workflow as Kubeflow Pipelines reports them, written down from what its API server does with Argo's.

For a container step it reports `<step>-driver`, `<step>` and `executor`; with tries `executor` and `executor(0)`, ...
Names, states and times are given; pods are not, and a node's children carry Argo's node ids. An end that has not come
is the time zero of Go, and a cached step has an executor that was skipped.
"""

from datetime import UTC, datetime, timedelta

WORKFLOW = "fine-tune-pipeline-x7k2p"
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NEVER = "0001-01-01T00:00:00Z"
STEP_SECONDS = 75
"""How long every step takes."""


def nodes(steps: dict[str, str]) -> list[dict]:
    """Task details of a run.

    Args:
        steps: Path of a step's node to its state: `driver` (being prepared), `pending`, `running`, `try 2` (running),
            `succeeded`, `cached`, `failed`, `omitted` (another failed), `branch skipped` (the path of a condition).
    """
    found = [_node("root", "RUNNING", 0, children=[f"{WORKFLOW}-1111111"])]
    for number, (path, state) in enumerate(steps.items()):
        found += _step(path.rpartition(".")[2], state, 100 * number)
    return found


def _step(key: str, state: str, at: int) -> list[dict]:
    if state == "driver":
        return [_node(f"{key}-driver", "PENDING", at)]
    if state == "driver failed":
        return [_node(f"{key}-driver", "FAILED", at, 3)]
    if state == "omitted":
        return [_node(f"{key}-driver", "RUNTIME_STATE_UNSPECIFIED", at, 0)]
    if state == "branch skipped":
        return [_node(key, "SKIPPED", at, 0)]
    driver = _node(f"{key}-driver", "SUCCEEDED", at, 5)
    if state == "cached":
        return [driver, _node(key, "SUCCEEDED", at + 5, 1), _node("executor", "SKIPPED", at + 5, 0)]
    if state in {"succeeded", "failed"}:
        ended = state.upper()
        return [driver, _node(key, ended, at + 5, STEP_SECONDS), _node("executor", ended, at + 6, STEP_SECONDS - 2)]
    if state == "try 2":
        tries = [_node("executor(0)", "FAILED", at + 6, 10), _node("executor(1)", "RUNNING", at + 50)]
        return [driver, _node(key, "RUNNING", at + 5), _node("executor", "RUNNING", at + 6), *tries]
    return [driver, _node(key, "RUNNING", at + 5), _node("executor", state.upper(), at + 6)]


def _node(name: str, state: str, at: int, seconds: int | None = None, children: list[str] | None = None) -> dict:
    start = START + timedelta(seconds=at)
    return {
        "run_id": "run-1",
        "task_id": f"task-{name}-{at}",
        "display_name": name,
        "create_time": START.isoformat(),
        "start_time": start.isoformat(),
        "end_time": NEVER if seconds is None else (start + timedelta(seconds=seconds)).isoformat(),
        "state": state,
        "child_tasks": [{"pod_name": child} for child in children or []],
    }
