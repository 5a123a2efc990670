"""Runs on a cluster: submitted, looked at, cancelled."""

import json
import time
from typing import Any

import kfp_server_api
from google.protobuf import json_format  # type: ignore[import-untyped]

from components.core.errors import PlatformError

# mypy cannot follow a folder whose name has a hyphen.
from .session import Session, Unreachable  # type: ignore[import-not-found]
from .steps import Task, tasks_of  # type: ignore[import-not-found]

EXPERIMENT = "fine-tune-pipeline"


def package_of(pipeline: Any, use_cache: bool, uncached: tuple[str, ...] = ()) -> dict[str, Any]:
    """What is sent to the server: the compiled pipeline with what its pods need.

    Args:
        pipeline: A kfp pipeline.
        use_cache: Leave it to each step whether it reuses the outputs of an earlier run with the same inputs.
        uncached: Names of steps that always run.
    """
    spec = json_format.MessageToDict(pipeline.pipeline_spec)
    for tasks in _all_tasks(spec):
        for name, task in tasks.items():
            if not use_cache or name in uncached:
                # The client's own switch leaves out what stands inside a condition.
                task["cachingOptions"] = {}
    platform = json_format.MessageToDict(pipeline.platform_spec)
    return {"pipeline_spec": spec, "platform_spec": platform} if platform else spec


def _all_tasks(spec: dict[str, Any]) -> list[dict[str, Any]]:
    components = [spec["root"], *spec["components"].values()]
    return [component["dag"]["tasks"] for component in components if "dag" in component]


def find_experiment(session: Session, name: str) -> str:
    """Id of the experiment of that name, created when it is not there."""
    same_name = {"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]}
    place = {"namespace": session.namespace} if session.namespace else {}
    found = session.call(session.experiments.experiment_service_list_experiments, filter=json.dumps(same_name), **place)
    if found.experiments:
        return str(found.experiments[0].experiment_id)
    wanted = kfp_server_api.V2beta1Experiment(display_name=name, **place)
    return str(session.call(session.experiments.experiment_service_create_experiment, wanted).experiment_id)


def submit(session: Session, package: dict[str, Any], experiment: str, name: str | None) -> str:
    """Start a run and give back its id.

    Args:
        session: Where to start it.
        package: From `package_of`.
        experiment: Name of the experiment; created when it is not there.
        name: Name of the run; none makes one of the pipeline's name and the time.

    Raises:
        PlatformError: If the server cannot be reached or refuses.
    """
    run = kfp_server_api.V2beta1Run(
        experiment_id=find_experiment(session, experiment),
        display_name=name or f"{EXPERIMENT} {time.strftime('%Y-%m-%d %H:%M:%S')}",
        pipeline_spec=package,
        runtime_config=kfp_server_api.V2beta1RuntimeConfig(parameters={}),
    )
    try:
        return str(session.call(session.runs.run_service_create_run, run).run_id)
    except Unreachable as error:
        look = "python -m llm-pipelines.runs list"
        raise PlatformError(f"{error}\nThe run may have started all the same: {look} shows it.") from error


def get_run(session: Session, run_id: str) -> Any:
    """The run as the server knows it: state, times, nodes."""
    return session.call(session.runs.run_service_get_run, run_id)


def run_tasks(session: Session, run: Any) -> list[Task]:
    """The steps that a run's pipeline defines."""
    if run.pipeline_spec:
        return list(tasks_of(run.pipeline_spec))
    version = run.pipeline_version_reference
    found = session.call(
        session.pipelines.pipeline_service_get_pipeline_version, version.pipeline_id, version.pipeline_version_id
    )
    return list(tasks_of(found.pipeline_spec))


def list_runs(session: Session, limit: int) -> list[Any]:
    """The newest runs of the namespace."""
    place = {"namespace": session.namespace} if session.namespace else {}
    found = session.call(session.runs.run_service_list_runs, page_size=limit, sort_by="created_at desc", **place)
    return found.runs or []


def cancel(session: Session, run_id: str) -> None:
    """Ask the server to end a run; its pods go away shortly after."""
    session.call(session.runs.run_service_terminate_run, run_id)


def pod_log(session: Session, pod: str, run_id: str) -> str | None:
    """The log of a pod so far; none when there is none to be had, for example because the pod is gone."""
    try:
        query = {"podname": pod, "podnamespace": session.pod_namespace, "runid": run_id}
        return str(session.call(session.api.text, "/k8s/pod/logs", **query))
    except PlatformError:
        return None


def pending_reason(session: Session, pod: str) -> str:
    """Why a pod has not started, in the scheduler's or the node's own words; empty when it cannot be had."""
    try:
        query = {"podname": pod, "podnamespace": session.pod_namespace}
        status = json.loads(session.call(session.api.text, "/k8s/pod", **query))["status"]
    except (PlatformError, ValueError, KeyError):
        return ""
    waiting = [
        container["state"]["waiting"]
        for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
        if container.get("state", {}).get("waiting")
    ]
    unmet = [condition for condition in status.get("conditions", []) if condition.get("status") == "False"]
    for cause in [*(w for w in waiting if w.get("message")), *(u for u in unmet if u["type"] == "PodScheduled")]:
        return f"{cause.get('reason', '')}: {cause.get('message', '')}".strip(": ")
    return ""
