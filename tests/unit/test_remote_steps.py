"""Steps read from a workflow's nodes, on the graph that users run."""

import importlib
import json

import kfp_server_api
import pytest
from support.kfp_workflow import WORKFLOW, nodes

from components.core.recipe import Recipe

remote_steps = importlib.import_module("llm-pipelines.remote.steps")
remote_run = importlib.import_module("llm-pipelines.remote.run")
graph = importlib.import_module("llm-pipelines.graph")

FETCH, TUNE = "root.fetch-dataset", "root.finetune-model"
BRANCHES = "root.condition-branches-1"


@pytest.fixture(scope="module")
def tasks():
    return remote_steps.tasks_of(remote_run.package_of(graph.build_pipeline(Recipe()), use_cache=True))


def run_with(steps, state="RUNNING", history=()):
    answer = {"state": state, "run_details": {"task_details": nodes(steps)}, "state_history": list(history)}

    class Response:
        data = json.dumps(answer)

    return kfp_server_api.ApiClient().deserialize(Response, "V2beta1Run")


def state_of(tasks, name, steps, **run):
    return next(step for step in remote_steps.steps_of(run_with(steps, **run), tasks) if step.name == name)


def test_the_steps_come_in_the_order_in_which_they_run(tasks):
    assert [task.name for task in tasks] == [
        "fetch-dataset",
        "tokenize-dataset",
        "finetune-model",
        "evaluate-model",
        "upload-model",
        "register-model",
        remote_steps.REFUSED_STEP,
    ]


@pytest.mark.parametrize(
    ("reported", "state"),
    [
        ("driver", "pending"),
        ("pending", "pending"),
        ("running", "running"),
        ("succeeded", "succeeded"),
        ("cached", "cached"),
        ("failed", "failed"),
        ("driver failed", "failed"),
        ("omitted", "skipped"),
        ("branch skipped", "skipped"),
    ],
)
def test_a_steps_state_is_read_from_its_nodes(tasks, reported, state):
    assert state_of(tasks, "fetch-dataset", {FETCH: reported}).state == state
    assert state_of(tasks, "evaluate-model", {FETCH: reported}).state == "waiting"


def test_a_cached_step_does_not_make_its_neighbours_cached(tasks):
    steps = {FETCH: "cached", "root.tokenize-dataset": "succeeded", TUNE: "running"}
    states = [step.state for step in remote_steps.steps_of(run_with(steps), tasks)]
    assert states[:3] == ["cached", "succeeded", "running"]


def test_how_long_a_step_took_and_which_try_it_is(tasks):
    assert state_of(tasks, "fetch-dataset", {FETCH: "succeeded"}).seconds == 75
    tried = state_of(tasks, "finetune-model", {TUNE: "try 2"})
    assert (tried.state, tried.attempt) == ("running", 2)


def test_the_hash_in_a_pods_name_is_that_of_the_workflow_engine():
    # A node of a real workflow and the id that the engine gave it.
    assert remote_steps.node_hash("coinflip-recursive-q7dqb[1]") == 1720466287


def test_a_steps_pod_is_its_worker_its_latest_try_or_its_driver(tasks):
    def pod(node, template):
        return f"{WORKFLOW}-{template}-{remote_steps.node_hash(f'{WORKFLOW}.{node}')}"

    fetching = state_of(tasks, "fetch-dataset", {FETCH: "running"})
    assert fetching.pod == pod("root.fetch-dataset.executor", "system-container-impl")
    tuning = state_of(tasks, "finetune-model", {TUNE: "try 2"})
    assert tuning.pod == pod("root.finetune-model.executor(1)", "retry-system-container-impl")
    preparing = state_of(tasks, "fetch-dataset", {FETCH: "driver failed"})
    assert preparing.pod == pod("root.fetch-dataset-driver", "system-container-driver")
    path = f"{BRANCHES}.condition-2.upload-model"
    uploading = state_of(tasks, "upload-model", {path: "running"})
    assert uploading.pod == pod(f"{path}.executor", "system-container-impl")


def test_what_never_ran_was_skipped_once_the_run_is_over(tasks):
    assert state_of(tasks, "upload-model", {FETCH: "failed"}, state="FAILED").state == "skipped"


def test_a_step_that_was_cut_off_by_a_cancelled_run_did_not_fail(tasks):
    history = [{"state": "CANCELING"}]
    assert state_of(tasks, "fetch-dataset", {FETCH: "failed"}, state="FAILED", history=history).state == "cancelled"


def test_a_run_that_has_not_begun_has_only_waiting_steps(tasks):
    run = kfp_server_api.V2beta1Run(state="PENDING")
    assert {step.state for step in remote_steps.steps_of(run, tasks)} == {"waiting"}


def test_a_pipeline_without_pods_of_its_own_is_read_too(tasks):
    package = remote_run.package_of(graph.build_pipeline(Recipe()), use_cache=True)
    assert remote_steps.tasks_of(package["pipeline_spec"]) == tasks
