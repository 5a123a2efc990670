"""A candidate that is promoted or rolled back behind the real front over real HTTP.

The deployments are tests/support/upstream_stub.py, which stands in for our own server without a model; a delay or a
failure of theirs is told to them by a file.
"""

import json
import os
import signal
import subprocess
import sys

import pytest
from support.callers import Callers
from support.endpoint_server import ROOT
from support.endpoint_trial import Trial, two_deployments

from components.core.deployment.endpoints.lifecycle import (
    set_traffic,
)
from components.core.deployment.endpoints.local import LocalHost
from components.core.deployment.endpoints.promotion import Objective, Quality, promote
from components.core.deployment.endpoints.status import endpoint_status
from components.core.errors import ConfigError

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    with two_deployments(tmp_path_factory.mktemp("home")) as made:
        yield made


@pytest.fixture(autouse=True)
def usual(request):
    """Every test begins anew."""
    if "trial" in request.fixturenames:
        request.getfixturevalue("trial").begin_again()


def callers_of(trial) -> Callers:
    return Callers(lambda client: trial.post(client=client), 3)


GOOD = Quality(True, "PASSED: not worse than the champion")
OBJECTIVE = Objective(max_latency_ms=1000, min_requests=10, patience_seconds=20)


def run_promotion(trial, quality=lambda: GOOD, objective=OBJECTIVE, probe=None):
    lines: list[str] = []
    host = LocalHost("trial", trial.settings, probe)
    return promote(host, "candidate", quality, objective, say=lines.append), lines


def test_an_equal_candidate_is_promoted_step_by_step_with_no_failed_request(trial):
    with callers_of(trial) as callers:
        ended, lines = run_promotion(trial)
    assert (ended.promoted, ended.traffic) == (True, {"candidate": 100})
    assert [line.split()[2] for line in lines if "gets" in line] == ["10", "50", "100"]
    assert set(callers.statuses) == {200}
    assert trial.folder.read().promotion is None


def test_a_slow_candidate_is_rolled_back_by_itself_with_no_failed_request(trial):
    trial.tell("candidate", delay=0.3)
    with callers_of(trial) as callers:
        ended, lines = run_promotion(trial, objective=Objective(250, 5, 20))
    assert not ended.promoted
    assert ended.reason.endswith("is above the objective of 250 ms")
    assert len([line for line in lines if "gets" in line]) == 1
    assert trial.folder.read().traffic == {"demo": 100}
    assert set(callers.statuses) == {200}


def test_a_verdict_that_turns_while_it_is_promoted_rolls_back(trial):
    verdicts = [GOOD] * 4

    def quality() -> Quality:
        return verdicts.pop() if verdicts else Quality(False, "REFUSED: worse than the champion")

    set_traffic(trial.name, {"demo": 90, "candidate": 10}, trial.settings)
    with callers_of(trial) as callers:
        ended, _ = run_promotion(trial, quality)
    assert (ended.promoted, ended.traffic) == (False, {"demo": 100})
    assert ended.reason == "the paired comparison does not hold: REFUSED: worse than the champion"
    assert set(callers.statuses) == {200}


def test_a_worse_candidate_gets_no_traffic_at_all(trial):
    ended, lines = run_promotion(trial, lambda: Quality(False, "REFUSED: worse"))
    assert (ended.promoted, ended.traffic, lines) == (False, {"demo": 100}, [])


def test_failures_of_the_candidate_and_too_few_requests_roll_back(trial):
    trial.tell("candidate", status=500)
    ended, _ = run_promotion(trial, probe=lambda: trial.post(**{"x-deployment": "candidate"}))
    assert (ended.promoted, ended.reason) == (False, "1 of its 1 requests failed")
    ended, _ = run_promotion(trial, objective=Objective(1000, 5, 0.5))
    assert ended.reason.startswith("only 0 of 5 requests reached it within")
    assert trial.folder.read().traffic == {"demo": 100}


def test_a_promotion_that_is_interrupted_goes_back(trial):
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_promotion(trial, probe=interrupt)
    assert (trial.folder.read().traffic, trial.folder.read().promotion) == ({"demo": 100}, None)


def shell_promotion(trial: Trial, *options: object) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    words = [str(option) for option in ("promote", trial.name, "candidate", "--max-latency-ms", 5000, *options)]
    environment = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
    return subprocess.Popen(
        [sys.executable, "-m", "llm-pipelines.endpoint", *words], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=environment | {"WHETSTONE_HOME": str(trial.home), "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


def write_verdict(trial: Trial, status: str) -> None:
    """Beside the candidate's model, as a published folder has it."""
    verdict = {"status": status, "outcome": "better", "headline": f"{status.upper()}: why", "reasons": ["why"]}
    (trial.home / "stubs" / "evaluation.json").write_text(json.dumps({"verdict": verdict}))


def test_the_command_promotes_by_the_verdict_in_the_models_folder(trial):
    request = trial.home / "request.json"
    request.write_text("{}")
    options = ("--min-requests", 3, "--probe-file", request)
    write_verdict(trial, "passed")
    done = shell_promotion(trial, *options)
    words = done.communicate(timeout=60)[0]
    assert done.returncode == 0, words
    assert "PROMOTED: quality and latency held at every step. Traffic of trial: candidate 100 %" in words

    set_traffic(trial.name, {"demo": 90, "candidate": 10}, trial.settings)
    write_verdict(trial, "refused")
    done = shell_promotion(trial, *options)
    words = done.communicate(timeout=60)[0]
    assert done.returncode == 3, words
    assert "ROLLED BACK: the paired comparison does not hold: REFUSED: why. Traffic of trial: demo 100 %" in words


def test_a_promotion_that_is_killed_is_told_and_others_go_back_to_the_split_before_it(trial):
    write_verdict(trial, "passed")
    running = shell_promotion(trial)
    assert running.stdout.readline() == "candidate gets 10 % of the traffic\n"
    with pytest.raises(ConfigError, match="candidate of trial is being promoted by process"):
        set_traffic(trial.name, {"demo": 100}, trial.settings)
    running.terminate()
    assert running.wait(30) == 128 + signal.SIGTERM
    assert (trial.folder.read().traffic, trial.folder.read().promotion) == ({"demo": 100}, None)

    running = shell_promotion(trial)
    assert running.stdout.readline() == "candidate gets 10 % of the traffic\n"
    running.kill()
    running.wait(30)
    assert trial.folder.read().traffic == {"demo": 90, "candidate": 10}
    note = endpoint_status(trial.name, trial.settings).cut_off
    assert note.startswith("a promotion of candidate was killed before its end. Go back: ")
    assert note.endswith("traffic trial demo=100")
    ended, _ = run_promotion(trial, lambda: Quality(False, "REFUSED"))
    assert ended.traffic == {"demo": 100}
    assert endpoint_status(trial.name, trial.settings).cut_off is None
