"""An endpoint of this machine: the real front over real HTTP.

The deployments are tests/support/upstream_stub.py, which stands in for our own server: no model, so that thousands of
requests can be counted. test_endpoint_manager_model.py has the real server.
"""

import asyncio
import os
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import aiohttp
import httpx
import psutil
import pytest
from support.endpoint_trial import SECONDS_TO_WAIT, Trial, two_deployments

from components.core.deployment.endpoints.keys import rotate_key
from components.core.deployment.endpoints.lifecycle import (
    delete_endpoint,
    deploy,
    remove_deployment,
    rotate_and_try,
    set_traffic,
)
from components.core.deployment.endpoints.processes import is_listening, is_running, unused_port
from components.core.deployment.endpoints.record import EndpointFolder, EndpointRecord
from components.core.deployment.endpoints.status import endpoint_status
from components.core.deployment.local_servers import Server, ServingError, spawn
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


def ask_many(trial: Trial, number: int, at_once: int = 16) -> list[tuple[int, str]]:
    """Status and deployment of many requests, with one connection for each that runs at once."""

    async def all_of_them() -> list[tuple[int, str]]:
        headers = {"X-API-Key": trial.keys["secondary"]}
        async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=at_once)) as client:

            async def one() -> tuple[int, str]:
                async with client.post(trial.url + "/score", data=b"{}") as answer:
                    return answer.status, (await answer.json()).get("from", "")

            return list(await asyncio.gather(*(one() for _ in range(number))))

    return asyncio.run(all_of_them())


def test_2000_requests_are_split_within_two_points(trial):
    set_traffic(trial.name, {"demo": 90, "candidate": 10}, trial.settings)
    answers = Counter(ask_many(trial, 2000))
    assert set(answers) == {(200, "demo"), (200, "candidate")}
    assert abs(answers[200, "candidate"] / 20 - 10) <= 2


@pytest.mark.parametrize("header", ["x-deployment", "azureml-model-deployment", "Azureml-Model-Deployment"])
def test_naming_a_deployment_overrides_the_split(trial, header):
    answers = [trial.post(**{header: "candidate"}) for _ in range(5)]
    assert {answer.json()["from"] for answer in answers} == {"candidate"}
    assert {answer.headers["azureml-model-deployment"] for answer in answers} == {"candidate"}


def test_an_unknown_deployment_is_404_and_two_different_ones_are_400(trial):
    answer = trial.post(**{"x-deployment": "nobody"})
    assert answer.status_code == 404
    assert answer.json() == {"error": "there is no deployment 'nobody' here (there are: demo, candidate)."}
    answer = trial.post(**{"x-deployment": "demo", "azureml-model-deployment": "candidate"})
    assert answer.status_code == 400
    assert "name different deployments" in answer.json()["error"]


def test_what_is_sent_arrives_without_the_callers_key_but_with_one_of_the_front(trial):
    answer = trial.post("/a%20path/x?b=%2F&c=1", **{"X-Mine": "1", "Content-Type": "application/json"}).json()
    assert (answer["path"], answer["body"]) == ("/a%20path/x?b=%2F&c=1", '{"a": 1}')
    headers = {name.lower(): value for name, value in answer["headers"].items()}
    assert headers["x-mine"] == "1"
    assert "authorization" not in headers
    assert headers["x-api-key"] == (trial.folder.path / "internal" / "primary").read_text()
    assert not [value for value in headers.values() if trial.keys["primary"] in value]


def test_without_a_key_or_with_a_wrong_one_nobody_comes_in(trial):
    assert httpx.post(trial.url + "/score").status_code == 401
    answer = trial.post(key="wrong")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "API key is not valid" in answer.json()["error"]
    openai = trial.post("/openai/v1/chat/completions", key="wrong").json()["error"]
    assert (openai["type"], openai["code"]) == ("invalid_request_error", 401)
    assert httpx.get(trial.url + "/-/measures", headers={"X-Internal-Key": trial.keys["primary"]}).status_code == 401
    assert httpx.get(trial.url + "/healthz").json() == {"status": "alive"}


def test_a_rotated_key_works_at_once_and_the_old_one_no_more(trial):
    for which in ("primary", "secondary", "primary"):
        old = trial.keys[which]
        assert trial.post(key=old).status_code == 200
        trial.keys[which] = rotate_key(trial.folder.path, which)
        # the very next requests, on the front that has been running all the time
        assert trial.post(key=old).status_code == 401
        assert trial.post(key=trial.keys[which]).status_code == 200
        assert trial.post(key=trial.keys["secondary"]).status_code == 200
    trial.keys["primary"] = rotate_and_try(trial.name, "primary", trial.settings)
    assert is_running(trial.record.front)


def test_pieces_arrive_as_they_are_written(trial):
    go = trial.home / "stubs" / "demo.go"
    go.unlink(missing_ok=True)
    headers = {"X-API-Key": trial.keys["primary"]}
    with httpx.stream("POST", trial.url + "/stream", headers=headers, timeout=SECONDS_TO_WAIT) as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == b"data: first\n\n"
        # the deployment writes the second piece only now: the first one was not held back for it
        go.touch()
        assert next(pieces) == b"data: second\n\n"


def test_an_answer_that_takes_too_long_is_504_with_what_to_do(trial):
    trial.tell("demo", delay=20)
    started = time.monotonic()
    answer = trial.post()
    assert answer.status_code == 504
    assert answer.headers["x-deployment"] == "demo"
    assert answer.json()["error"].startswith("the deployment demo did not answer within 1500 ms. Ask for less")
    assert 1.4 < time.monotonic() - started < 15


def test_a_stream_that_takes_too_long_is_cut_and_never_looks_complete(trial):
    (trial.home / "stubs" / "demo.go").unlink(missing_ok=True)
    headers = {"X-API-Key": trial.keys["primary"]}
    with (
        pytest.raises(httpx.TransportError),
        httpx.stream("POST", trial.url + "/stream", headers=headers, timeout=SECONDS_TO_WAIT) as answer,
    ):
        assert answer.read()
    # the front lives on
    assert trial.post().status_code == 200


def test_traffic_that_cannot_be_is_refused_and_changes_nothing(trial):
    with pytest.raises(ConfigError, match=r"must sum to 100, and 90 \+ 20 is 110"):
        set_traffic(trial.name, {"demo": 90, "candidate": 20}, trial.settings)
    with pytest.raises(ConfigError, match="there is no deployment nobody"):
        set_traffic(trial.name, {"demo": 90, "nobody": 10}, trial.settings)
    assert trial.folder.read().traffic == {"demo": 100}
    with pytest.raises(ConfigError, match="demo gets 100 % of the traffic. Give it to others first"):
        remove_deployment(trial.name, "demo", trial.settings)
    with pytest.raises(ConfigError, match="has a deployment demo already"):
        trial.deploy("demo")


def test_a_deployment_that_does_not_become_ready_leaves_nothing(trial):
    def launch(name, model, port, endpoint, settings):
        words = "import sys; sys.exit('error: no such model')"
        return spawn(name, [sys.executable, "-c", words], dict(os.environ), port, endpoint.path)

    with pytest.raises(ServingError, match="the broken server ended: no such model"):
        deploy(trial.name, "broken", str(trial.home), trial.settings, launch=launch)
    assert [each.name for each in trial.folder.read().deployments] == ["demo", "candidate"]


def test_two_deployments_that_start_at_once_get_ports_of_their_own(tmp_path):
    EndpointFolder(tmp_path, "end").make()
    folder = EndpointFolder(tmp_path, "end")
    with unused_port(tmp_path, 18500) as first:
        front = Server("front", os.getpid(), psutil.Process().create_time(), first)
        folder.write(EndpointRecord(name="end", created="2026-01-01T00:00:00Z", front=front))
    with unused_port(tmp_path, first) as second:
        assert second > first


def test_an_endpoint_whose_folder_is_removed_by_hand_ends_by_itself(tmp_path):
    trial = Trial(tmp_path, "removed")
    servers = [trial.record.front, trial.deploy("demo").server]
    # the front looks at its record once a second
    time.sleep(1.5)
    shutil.rmtree(tmp_path / "serving")
    ended = time.monotonic() + SECONDS_TO_WAIT
    while any(is_running(server) for server in servers) and time.monotonic() < ended:
        time.sleep(0.1)
    assert not [server.name for server in servers if is_running(server)]


def test_who_has_died_is_noticed_callers_get_the_others_and_nothing_is_left_after_deletion(tmp_path):
    trial = Trial(tmp_path, "dying")
    servers = [trial.record.front]
    try:
        servers += [trial.deploy(name).server for name in ("demo", "candidate")]
        set_traffic(trial.name, {"demo": 50, "candidate": 50}, trial.settings)
        os.kill(servers[2].pid, signal.SIGKILL)
        psutil.Process(servers[2].pid).wait(10)

        found = endpoint_status(trial.name, trial.settings)
        assert {each.deployment.name: each.state for each in found.deployments} == {
            "demo": "ready",
            "candidate": "dead",
        }
        assert set(ask_many(trial, 20)) == {(200, "demo")}
        answer = trial.post(**{"x-deployment": "candidate"})
        assert answer.status_code == 502
        assert "no process answers for the deployment candidate" in answer.json()["error"]

        # a command that was killed between the start of a process and its record
        trial.launch("lost", str(tmp_path), 0, trial.folder, trial.settings)
        os.kill(servers[0].pid, signal.SIGKILL)
        psutil.Process(servers[0].pid).wait(10)
        assert endpoint_status(trial.name, trial.settings).front == "dead"
    finally:
        lines: list[str] = []
        delete_endpoint(trial.name, trial.settings, lines.append)
    assert [line.split()[0] for line in lines] == ["Deleting", "front", "demo", "candidate", "unrecorded", "keys"]
    assert not [server for server in servers if is_running(server) or is_listening(server.port)]
    assert not trial.folder.path.exists()
    # the unrecorded one too: a stub has its folder among its arguments
    assert not [process.pid for process in psutil.process_iter(["cmdline"]) if names(process, tmp_path)]
    with pytest.raises(ConfigError, match="there is no endpoint dying on this machine"):
        delete_endpoint(trial.name, trial.settings)


def names(process: psutil.Process, folder: Path) -> bool:
    return any(str(folder) in word for word in process.info["cmdline"] or [])
