"""What is sent to Kubeflow Pipelines: runs and recurring runs; the real client over HTTP."""

import importlib

import pytest
from support.kfp_server import KfpServer

from components.core.errors import ConfigError, PlatformError
from components.core.recipe import Recipe
from components.core.settings import Settings

remote_launch = importlib.import_module("llm-pipelines.remote.launch")
remote_run = importlib.import_module("llm-pipelines.remote.run")
remote_schedule = importlib.import_module("llm-pipelines.remote.schedule")
remote_session = importlib.import_module("llm-pipelines.remote.session")
graph = importlib.import_module("llm-pipelines.graph")

CANARY = "CanaryTokenThatMustNeverBeSentAsContent"


@pytest.fixture(scope="module")
def pipeline():
    return graph.build_pipeline(Recipe())


@pytest.fixture
def server():
    server = KfpServer(tokens={CANARY}).start()
    yield server
    server.stop()


@pytest.fixture
def session(server):
    return remote_session.connect(server.host, "team-a", Settings(kfp_token=CANARY))


def launch(pipeline, session, use_cache=True, **choice):
    return remote_launch.launch(pipeline, session, remote_launch.Launch(**choice), use_cache)


def cached(package):
    spec = package.get("pipeline_spec", package)
    components = [spec["root"], *spec["components"].values()]
    tasks = [item for one in components if "dag" in one for item in one["dag"]["tasks"].items()]
    return {name: bool(task.get("cachingOptions", {}).get("enableCache")) for name, task in tasks}


def test_a_run_is_submitted_with_its_pods_and_its_address_printed(pipeline, server, session, capsys):
    assert launch(pipeline, session, experiment="squad", run_name="first", wait=False) == 0
    run = server.bodies("POST", "/runs")[0]
    assert (run["display_name"], run["experiment_id"]) == ("first", "experiment-1")
    assert run["pipeline_spec"]["platform_spec"]["platforms"]["kubernetes"]
    assert server.experiments["experiment-1"]["display_name"] == "squad"
    assert server.experiments["experiment-1"]["namespace"] == "team-a"
    printed = capsys.readouterr().out
    assert printed == (
        f"Run started: {server.host}/#/runs/details/run-1\n"
        "Follow it: python -m llm-pipelines.runs status run-1 --wait. "
        "Cancel it: python -m llm-pipelines.runs cancel run-1.\n"
    )


def test_a_run_gets_a_name_with_the_time_and_the_experiment_is_reused(pipeline, server, session):
    for _ in range(2):
        launch(pipeline, session, wait=False)
    assert len(server.experiments) == 1
    name = server.bodies("POST", "/runs")[1]["display_name"]
    assert name.startswith("fine-tune-pipeline 2")


def test_no_secret_is_in_what_is_sent(pipeline, server, session):
    launch(pipeline, session, wait=False)
    assert server.requests
    for _, path, _, body in server.requests:
        assert CANARY not in path
        assert CANARY not in body.decode()


def test_every_step_may_use_the_cache_or_none_the_ones_inside_a_condition_included(pipeline):
    steps = {"fetch-dataset", "tokenize-dataset", "finetune-model", "evaluate-model", "upload-model", "register-model"}
    with_cache = cached(remote_run.package_of(pipeline, use_cache=True))
    assert all(with_cache[step] for step in steps)
    without = cached(remote_run.package_of(pipeline, use_cache=False))
    assert steps < set(without)
    assert not any(without.values())


def test_without_waiting_being_asked_for_a_pipe_does_not_wait(pipeline, server, session):
    assert launch(pipeline, session) == 0
    assert server.looks == 0


def test_on_a_terminal_the_run_is_followed(pipeline, server, session, monkeypatch, capsys):
    server.script = [{"state": "SUCCEEDED", "steps": {"root.fetch-dataset": "cached"}}]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert launch(pipeline, session) == 0
    assert "fetch-dataset        cached" in capsys.readouterr().out


def test_a_recurring_run_is_made_and_fetches_its_data_each_time(pipeline, server, session, capsys):
    assert launch(pipeline, session, cron="0 0 3 * * *", run_name="nightly") == 0
    made = server.bodies("POST", "/recurringruns")[0]
    assert made["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * *"}}
    assert (made["display_name"], made["mode"], made["max_concurrency"]) == ("nightly", "ENABLE", "1")
    assert made["no_catchup"] is True
    uses_cache = cached(made["pipeline_spec"])
    assert not uses_cache["fetch-dataset"]
    assert uses_cache["finetune-model"]
    assert not server.runs
    assert "Recurring run nightly made: 0 0 3 * * *" in capsys.readouterr().out


def test_a_recurring_run_may_be_made_paused(pipeline, server, session):
    launch(pipeline, session, cron="0 0 3 * * *", paused=True)
    assert server.bodies("POST", "/recurringruns")[0]["mode"] == "DISABLE"


def test_a_recurring_run_is_not_made_twice(pipeline, server, session):
    launch(pipeline, session, cron="0 0 3 * * *")
    with pytest.raises(ConfigError, match="there is a recurring run fine-tune-pipeline in team-a. Remove it"):
        launch(pipeline, session, cron="0 0 4 * * *")
    assert len(server.schedules) == 1


def test_a_recurring_run_is_removed_by_its_name(pipeline, server, session):
    launch(pipeline, session, cron="0 0 3 * * *", run_name="nightly")
    with pytest.raises(ConfigError, match="there is no recurring run weekly in team-a. There is: nightly"):
        remote_schedule.delete_schedule(session, "weekly")
    remote_schedule.delete_schedule(session, "nightly")
    assert not server.schedules


def test_a_run_in_a_namespace_without_rights_is_refused(pipeline, server, session):
    server.forbidden = {"team-a"}
    with pytest.raises(PlatformError, match="answered 403 .* for namespace team-a"):
        launch(pipeline, session)


def test_a_run_whose_answer_is_lost_is_not_started_twice(pipeline, server, session):
    server.lost = "/runs"
    with pytest.raises(PlatformError, match="The run may have started all the same: python -m llm-pipelines.runs list"):
        launch(pipeline, session)
    assert len(server.runs) == 1


@pytest.mark.parametrize(
    "expression", ["0 0 3 * * *", "*/10 0-30/5 1,13 ? JAN-MAR MON", "0 30 6 1 * ?", "  0 0  0 31 12 6 "]
)
def test_a_cron_expression_of_six_fields_is_taken(expression):
    assert remote_schedule.check_cron(expression) == " ".join(expression.split())


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("0 3 * * *", r"has 5 fields. Kubeflow's have six: second, .* in front: '0 0 3 \* \* \*'"),
        ("@daily", "has 1 fields"),
        ("0 0 24 * * *", "hour '24' is not"),
        ("0 60 3 * * *", "minute '60' is not"),
        ("0 0 3 0 * *", "day of the month '0' is not"),
        ("0 0 3 * FOO *", "month 'FOO' is not"),
        ("0 0 3 * * 5-2", "day of the week '5-2' is not"),
        ("0 0 3 * * 1/0", "day of the week '1/0' is not"),
        ("0 0 *-4 * * *", r"hour '\*-4' is not"),
        ("0 0 1,,2 * * *", "hour '1,,2' is not"),
    ],
)
def test_a_cron_expression_that_the_cluster_cannot_read_is_refused(expression, message):
    with pytest.raises(ConfigError, match=message):
        remote_schedule.check_cron(expression)
