"""The commands as users type them, with a server that stands in for Kubeflow Pipelines: output, exit code, Ctrl-C."""

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from support.kfp_server import KfpServer
from support.kfp_workflow import WORKFLOW

ROOT = Path(__file__).resolve().parents[2]
CANARY = "CanaryTokenThatMustNeverBePrinted"
FETCH, TOKENIZE, TUNE, JUDGE = (
    f"root.{step}" for step in ("fetch-dataset", "tokenize-dataset", "finetune-model", "evaluate-model")
)
PASSED, REFUSED = (f"root.condition-branches-1.condition-{number}" for number in (2, 3))
JUDGED = dict.fromkeys((FETCH, TOKENIZE, TUNE, JUDGE), "succeeded")
# Name of the pod of the step fetch-dataset in that workflow.
FETCH_POD = f"{WORKFLOW}-system-container-impl-2984463142"

pytestmark = pytest.mark.e2e


@pytest.fixture
def server():
    server = KfpServer(tokens={CANARY}, gateway=True).start()
    yield server
    server.stop()


def environment(server, **more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KFP_", "KF_PIPELINES"))}
    return {**kept, "KFP_HOST": server.host, "KFP_TOKEN": CANARY, "KFP_NAMESPACE": "team-a", **more}


def start(module, *arguments, server, **more):
    return subprocess.Popen(
        [sys.executable, "-m", f"llm-pipelines.{module}", *arguments],
        cwd=ROOT,
        env=environment(server, **more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background is deaf to Ctrl-C, and so would be what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(process):
    out, err = process.communicate(timeout=120)
    assert CANARY not in out + err
    assert "Traceback" not in err
    return process.returncode, out, err


def command(module, *arguments, server, **more):
    return finish(start(module, *arguments, server=server, **more))


def moments(*found):
    return [{"state": state, "steps": steps} for state, steps in found]


def test_a_run_is_followed_to_a_registered_model(server):
    registered = {f"{PASSED}.upload-model": "succeeded", f"{PASSED}.register-model": "succeeded"}
    server.script = moments(("SUCCEEDED", JUDGED | registered | {REFUSED: "branch skipped"}))
    code, out, err = command("fine-tune-pipeline", "--wait", "--run-name", "my run", server=server)
    assert code == 0, err
    assert f"Run started: {server.host}/pipeline/#/runs/details/run-1" in out
    assert "fetch-dataset        succeeded after 1 min 15 s" in out
    assert "The model passed the gate and is registered." in out
    assert "Experiment details" not in out
    assert CANARY not in " ".join(body.decode() for _, _, _, body in server.requests)


def test_a_refused_model_ends_with_exit_code_3(server):
    refused = {PASSED: "branch skipped", f"{REFUSED}.register-model-2": "succeeded"}
    server.script = moments(("SUCCEEDED", JUDGED | refused))
    code, out, _ = command("fine-tune-pipeline", "--wait", server=server)
    assert code == 3
    assert "The gate refused the model; nothing was uploaded." in out


def test_a_failed_step_ends_with_its_own_words_and_exit_code_2(server):
    server.script = moments(("FAILED", {FETCH: "failed", TOKENIZE: "omitted"}))
    server.logs = {FETCH_POD: "error: rows.jsonl:3: no answer. Add one.\n"}
    code, out, err = command("fine-tune-pipeline", "--wait", server=server)
    assert code == 2
    assert "fetch-dataset        failed after 1 min 15 s" in out
    assert err == "error: step fetch-dataset failed: rows.jsonl:3: no answer. Add one.\n"


@pytest.mark.parametrize(("flag", "cancelled"), [("--cancel-on-interrupt", True), ("--keep-on-interrupt", False)])
def test_ctrl_c_ends_the_waiting_and_the_run_only_by_choice(server, flag, cancelled):
    server.script = moments(("RUNNING", {FETCH: "running"}))
    process = start("fine-tune-pipeline", "--wait", flag, server=server)
    deadline = time.monotonic() + 60
    while not server.looks and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    # The command line is what others on the machine can see.
    assert CANARY not in Path(f"/proc/{process.pid}/cmdline").read_text()
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert (code, err) == (130, "")
    assert ("Run run-1 is cancelled." in out) is cancelled
    assert ("Cancel it: python -m llm-pipelines.runs cancel run-1." in out) is not cancelled
    assert (server.runs["run-1"].get("state") == "CANCELING") is cancelled


def test_ctrl_c_on_a_terminal_asks_and_a_terminal_waits_by_default(server):
    server.script = moments(("RUNNING", {FETCH: "running"}))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "llm-pipelines.fine-tune-pipeline"],
        cwd=ROOT,
        env=environment(server),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: (signal.signal(signal.SIGINT, signal.SIG_DFL), fcntl.ioctl(0, termios.TIOCSCTTY, 0)),
    )
    os.close(theirs)
    seen = until(ours, "fetch-dataset        running")
    os.write(ours, b"\x03")
    seen += until(ours, "Cancel the run on the cluster, too? [y/N]")
    os.write(ours, b"y\n")
    seen += until(ours, "Run run-1 is cancelled.")
    assert process.wait(timeout=30) == 130
    assert server.runs["run-1"]["state"] == "CANCELING"
    assert "Traceback" not in seen
    assert CANARY not in seen
    os.close(ours)


def until(terminal, words):
    """What a terminal shows up to these words."""
    seen, deadline = "", time.monotonic() + 60
    while words not in seen and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            seen += os.read(terminal, 65536).decode()
    assert words in seen
    return seen


def test_a_wrong_token_and_a_missing_one_end_with_one_line(server):
    code, _, err = command("runs", "list", server=server, KFP_TOKEN="wrong")
    assert (code, err.count("\n")) == (2, 1)
    assert "answered 401" in err
    code, _, err = command("runs", "list", server=server, KFP_TOKEN="")
    assert (code, err.count("\n")) == (2, 1)
    assert "answered with a login page. Set KFP_TOKEN" in err


def test_inside_a_pod_the_token_of_the_cluster_is_found(server, tmp_path):
    (tmp_path / "token").write_text(CANARY)
    code, _, err = command(
        "runs", "list", server=server, KFP_TOKEN="", KF_PIPELINES_SA_TOKEN_PATH=str(tmp_path / "token")
    )
    assert (code, err) == (0, "")
    assert server.requests[-1][2]["authorization"] == f"Bearer {CANARY}"


def test_a_recurring_run_is_made_listed_and_removed(server):
    code, out, err = command("fine-tune-pipeline", "--cron", "0 0 3 * * *", "--run-name", "nightly", server=server)
    assert code == 0, err
    assert "python -m llm-pipelines.runs unschedule 'nightly'" in out
    assert command("runs", "schedules", server=server)[1].split() == ["enable", "0", "0", "3", "*", "*", "*", "nightly"]
    assert command("runs", "unschedule", "nightly", server=server)[1] == "Recurring run nightly is removed.\n"
    assert command("runs", "schedules", server=server)[1] == ""


def test_runs_are_listed_looked_at_read_and_cancelled(server):
    server.script = moments(("RUNNING", {FETCH: "running"}))
    server.logs = {FETCH_POD: "I0301 12:00:06.000000 launcher_v2.go:186] publish success.\nReading rows.jsonl\n"}
    code, _, err = command("fine-tune-pipeline", "--no-wait", "--run-name", "mine", server=server)
    assert code == 0, err
    assert command("runs", "list", server=server)[1].split() == ["run-1", "PENDING", "2026-03-01", "12:00", "mine"]
    shown = command("runs", "status", "run-1", server=server)[1]
    assert shown.startswith(
        f"mine: running, {server.host}/pipeline/#/runs/details/run-1\nfetch-dataset        running\n"
    )
    assert command("runs", "logs", "run-1", server=server)[1] == "== fetch-dataset (running)\nReading rows.jsonl\n"
    assert (
        "has no step no-step. It has: fetch-dataset," in command("runs", "logs", "run-1", "no-step", server=server)[2]
    )
    assert command("runs", "cancel", "run-1", server=server)[1] == "Run run-1 is cancelled.\n"
    assert server.runs["run-1"]["state"] == "CANCELING"
    code, _, err = command("runs", "status", "run-9", server=server)
    assert code == 2
    assert "answered 404 Not Found: Run run-9 not found." in err


def test_a_command_without_an_address_says_so(server):
    code, _, err = command("runs", "list", server=server, KFP_HOST="")
    assert (code, err) == (
        2,
        "error: KFP_HOST is not set. Set it to the address of Kubeflow, https://kubeflow.example.\n",
    )


def test_a_recurring_run_needs_a_cluster(server):
    code, _, err = command("fine-tune-pipeline", "--cron", "0 0 3 * * *", server=server, KFP_HOST="")
    assert code == 2
    assert "--cron needs a cluster. Set KFP_HOST" in err
