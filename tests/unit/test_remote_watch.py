"""Following a run: what the terminal shows, and how the run's end comes back; the real client over HTTP."""

import importlib
import threading

import pytest
from support.kfp_server import KfpServer
from support.kfp_workflow import WORKFLOW

from components.core.errors import PlatformError
from components.core.recipe import Recipe
from components.core.settings import Settings

remote_session = importlib.import_module("llm-pipelines.remote.session")
remote_run = importlib.import_module("llm-pipelines.remote.run")
remote_steps = importlib.import_module("llm-pipelines.remote.steps")
remote_watch = importlib.import_module("llm-pipelines.remote.watch")
step_words = importlib.import_module("llm-pipelines.step_words")
graph = importlib.import_module("llm-pipelines.graph")

FETCH, TOKENIZE, TUNE, JUDGE = (
    f"root.{step}" for step in ("fetch-dataset", "tokenize-dataset", "finetune-model", "evaluate-model")
)
PASSED, REFUSED = (f"root.condition-branches-1.condition-{number}" for number in (2, 3))
DONE = {FETCH: "cached", TOKENIZE: "succeeded", TUNE: "succeeded", JUDGE: "succeeded"}
REGISTERED = {**DONE, f"{PASSED}.upload-model": "succeeded", f"{PASSED}.register-model": "succeeded"}
FETCH_POD = f"{WORKFLOW}-system-container-impl-{remote_steps.node_hash(f'{WORKFLOW}.{FETCH}.executor')}"
FAILED_LOG = """\
time="2026-03-01T12:00:06.000Z" level=info msg="capturing logs" argo=true
I0301 12:00:06.000000 launcher_v2.go:186] publish success.
[KFP Executor 2026-03-01 12:00:06,000 INFO]: Got executor_input:
{
    "inputs": {"parameterValues": {"data": {}}}
}
Reading rows.jsonl
error: rows.jsonl:3: no answer. Add one.
Second line.
F0301 12:00:09.000000 main.go:54] failed to execute component: exit status 2
"""


@pytest.fixture
def server():
    server = KfpServer().start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def package():
    return remote_run.package_of(graph.build_pipeline(Recipe()), use_cache=True)


@pytest.fixture
def watch(server, package):
    """Follows a run that plays a script; the lines that it shows are in `.lines`."""

    def follow(*moments, settings=None, **choices):
        server.script = [{"state": state, "steps": steps} for state, steps in moments]
        session = remote_session.connect(server.host, "team-a", settings or Settings())
        run_id = remote_run.submit(session, package, "experiment", "name")
        lines = []
        show = choices.pop("show", lines.append)
        found = remote_watch.Watch(session, run_id, show, poll_seconds=0.01, **choices)
        found.lines = lines
        return found

    return follow


def test_a_line_is_shown_for_every_change_and_none_twice(watch, server):
    server.pods[FETCH_POD] = {
        "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes have a GPU"}
        ]
    }
    following = watch(
        ("PENDING", {}),
        ("RUNNING", {FETCH: "driver"}),
        ("RUNNING", {FETCH: "pending"}),
        ("RUNNING", {FETCH: "running"}),
        ("RUNNING", {FETCH: "running"}),
        ("RUNNING", {FETCH: "succeeded", TOKENIZE: "cached", TUNE: "try 2"}),
        ("SUCCEEDED", REGISTERED | {REFUSED: "branch skipped", FETCH: "succeeded"}),
    )
    assert following.until_done() == 0
    assert [" ".join(line.split()) for line in following.lines] == [
        "fetch-dataset pending",
        "fetch-dataset pending: Unschedulable: 0/3 nodes have a GPU",
        "fetch-dataset running",
        "fetch-dataset succeeded after 1 min 15 s",
        "tokenize-dataset cached",
        "finetune-model running (try 2)",
        "tokenize-dataset succeeded after 1 min 15 s",
        "finetune-model succeeded after 1 min 15 s",
        "evaluate-model succeeded after 1 min 15 s",
        "upload-model succeeded after 1 min 15 s",
        "register-model succeeded after 1 min 15 s",
        "record-refused-run skipped",
        f"The model passed the gate and is registered. The reports are in {server.host}/#/runs/details/run-1",
    ]


def test_an_image_that_cannot_be_pulled_is_told(watch, server):
    server.pods[FETCH_POD] = {
        "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "whetstone: not found"}}}]
    }
    following = watch(("RUNNING", {FETCH: "pending"}), ("SUCCEEDED", REGISTERED))
    following.until_done()
    assert following.lines[0].endswith("pending: ImagePullBackOff: whetstone: not found")


def test_a_failed_step_is_named_with_its_last_words_and_without_the_machinerys(watch, server):
    server.logs[FETCH_POD] = FAILED_LOG
    following = watch(("FAILED", {FETCH: "failed", TOKENIZE: "omitted"}))
    with pytest.raises(step_words.StepFailed) as caught:
        following.until_done()
    assert str(caught.value) == "step fetch-dataset failed: rows.jsonl:3: no answer. Add one.\nSecond line."


def test_a_defect_shows_the_end_of_the_log(watch, server):
    server.logs[FETCH_POD] = "Traceback (most recent call last):\nValueError: a defect of ours\n"
    with pytest.raises(step_words.StepFailed, match="ValueError: a defect of ours"):
        watch(("FAILED", {FETCH: "failed"})).until_done()


def test_a_failed_step_whose_pod_is_gone_points_to_the_page(watch, server):
    with pytest.raises(
        step_words.StepFailed, match=r"step fetch-dataset failed: its log is not to be had .*/#/runs/det"
    ):
        watch(("FAILED", {FETCH: "failed"})).until_done()


def test_a_refused_model_is_told_by_the_exit_code(watch):
    steps = DONE | {PASSED: "branch skipped", f"{REFUSED}.register-model-2": "succeeded"}
    assert watch(("SUCCEEDED", steps)).until_done() == 3


def test_the_steps_words_are_shown_once_each_when_wanted(watch, server):
    server.logs[FETCH_POD] = "Reading rows.jsonl\nI0301 12:00:06.000000 launcher_v2.go:186] publish success.\nhal"

    def show(line):
        following.lines.append(line)
        if "Reading" in line:
            server.logs[FETCH_POD] += "f a line\nThe last"

    following = watch(
        ("RUNNING", {FETCH: "running"}),
        ("RUNNING", {FETCH: "running"}),
        ("RUNNING", {FETCH: "running"}),
        ("SUCCEEDED", REGISTERED | {FETCH: "succeeded"}),
        follow_logs=True,
        show=show,
    )
    following.until_done()
    assert [line for line in following.lines if line.startswith("  ")] == [
        "  Reading rows.jsonl",
        "  half a line",
        "  The last",
    ]


def test_a_long_silence_is_broken(watch):
    following = watch(*[("RUNNING", {FETCH: "running"})] * 3, ("SUCCEEDED", REGISTERED), heartbeat_seconds=0.0)
    following.until_done()
    assert any(line.startswith("still running: fetch-dataset, ") for line in following.lines)


def test_a_server_that_restarts_is_waited_for_and_that_is_said_once(watch, server):
    def show(line):
        following.lines.append(line)
        if "running" in line:
            server.stop()
            threading.Timer(0.3, server.restart).start()

    following = watch(("RUNNING", {FETCH: "running"}), ("SUCCEEDED", REGISTERED), show=show)
    assert following.until_done() == 0
    said = [line for line in following.lines if "ontact" in line]
    assert said[0].startswith("Lost contact, trying again for 10 min 00 s: cannot reach Kubeflow Pipelines")
    assert said[1:] == ["In contact again"]


def test_answers_that_pass_are_waited_out(watch, server):
    following = watch(("SUCCEEDED", REGISTERED))
    server.failures = [503, 502, 429]
    assert following.until_done() == 0


def test_a_server_that_stays_away_ends_the_waiting_but_not_the_run(watch, server):
    following = watch(("RUNNING", {FETCH: "running"}), patience_seconds=0.05)
    server.failures = [503] * 1000
    with pytest.raises(PlatformError, match=r"answered 503(.|\n)*The run goes on. Follow it: .* status run-1 --wait"):
        following.until_done()


def test_a_token_that_expires_ends_the_waiting_and_says_how_to_go_on(watch, server):
    server.tokens = {"old"}
    following = watch(("RUNNING", {FETCH: "running"}), settings=Settings(kfp_token="old"))
    server.tokens = {"new"}
    with pytest.raises(PlatformError, match=r"answered 401(.|\n)*has expired(.|\n)*The run goes on"):
        following.until_done()


def test_a_token_in_a_file_may_be_renewed_while_waiting(watch, server, tmp_path):
    server.tokens = {"old"}
    (tmp_path / "token").write_text("old")

    def show(line):
        following.lines.append(line)
        if "running" in line:
            server.tokens = {"new"}
        if "Lost contact" in line:
            # As a shell does that writes the new one: the file is empty for a moment.
            (tmp_path / "token").write_text("")
            threading.Timer(0.1, (tmp_path / "token").write_text, ["new"]).start()

    settings = Settings(kfp_token_file=tmp_path / "token")
    following = watch(("RUNNING", {FETCH: "running"}), ("SUCCEEDED", REGISTERED), settings=settings, show=show)
    assert following.until_done() == 0
    assert following.lines[-1] != "In contact again"
    assert "In contact again" in following.lines


def interrupted(watch, cancel_on_interrupt):
    following = watch(("RUNNING", {FETCH: "running"}))

    def interrupt():
        raise KeyboardInterrupt

    following._look = interrupt
    return following, remote_watch.follow(following, cancel_on_interrupt)


def test_an_interrupt_leaves_the_run_alone_and_says_how_to_follow_and_to_cancel(watch, server):
    following, code = interrupted(watch, None)
    assert code == 130
    assert following.lines == [
        "The run goes on. Follow it: python -m llm-pipelines.runs status run-1 --wait. "
        "Cancel it: python -m llm-pipelines.runs cancel run-1."
    ]
    assert server.runs["run-1"].get("state") != "CANCELING"


def test_an_interrupt_ends_the_run_where_that_was_chosen(watch, server):
    following, code = interrupted(watch, True)
    assert (code, following.lines) == (130, ["Run run-1 is cancelled."])
    assert server.runs["run-1"]["state"] == "CANCELING"


@pytest.mark.parametrize(("answer", "cancelled"), [("y", True), ("", False), ("n", False)])
def test_an_interrupt_on_a_terminal_asks(watch, server, monkeypatch, answer, cancelled):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: answer)
    interrupted(watch, None)
    assert (server.runs["run-1"].get("state") == "CANCELING") is cancelled


def test_a_run_that_was_cancelled_elsewhere_is_told(watch, server):
    following = watch(("RUNNING", {FETCH: "running"}))
    remote_run.cancel(following.session, following.run_id)
    with pytest.raises(PlatformError, match="the run was cancelled: http"):
        following.until_done()


@pytest.mark.parametrize(("seconds", "said"), [(9, "9 s"), (75, "1 min 15 s"), (3660, "1 h 01 min")])
def test_durations_are_said_as_people_do(seconds, said):
    assert remote_watch.duration(seconds) == said
