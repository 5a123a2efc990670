"""What the page asks about the task and for predictions, and how it takes the answers."""

import json
from collections.abc import Callable

import httpx
import pytest
from support.predicting_stand_in import predictions, task_body

from ui.client import EndpointClient
from ui.contract import Health
from ui.problems import Problem
from ui.settings import Settings

KEY = "sk-canary-0123456789"
READY = Health(status="ready", model="m", revision="1")


def client_of(answer: Callable[[httpx.Request], httpx.Response], key: str | None = KEY) -> EndpointClient:
    return EndpointClient(Settings(api_url="http://endpoint:8080/prefix/", api_key=key), httpx.MockTransport(answer))


def by_path(**answers: httpx.Response) -> Callable[[httpx.Request], httpx.Response]:
    return lambda request: answers.get(request.url.path.rsplit("/", 1)[-1], httpx.Response(404, json={"error": "no"}))


@pytest.mark.parametrize("task", ["single_label", "multi_label", "regression", "ner"])
def test_the_task_and_the_name_in_the_addresses_are_asked_for(task):
    found = client_of(
        by_path(task=httpx.Response(200, json=task_body(task)), models=httpx.Response(200, json={"models": ["other"]}))
    ).task(READY)
    assert (found.task, found.name, found.max_seq_length) == (task, "other", 128)
    assert (found.thresholds is not None, found.scale is not None) == (task == "multi_label", task == "regression")


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(404, json={"error": "not found"}),
        httpx.Response(503, json={"error": "warming"}),
        httpx.Response(200, text="<html>Welcome</html>"),
        httpx.Response(200, json={"status": "ready"}),
        httpx.Response(302, headers={"location": "/dex"}),
    ],
    ids=["old", "warming", "page", "other", "login"],
)
def test_an_endpoint_that_does_not_say_its_task_is_taken_at_its_healths_word(answer):
    client = client_of(by_path(task=answer))
    assert client.task(READY).task == "context_qa"
    assert client.task(READY.model_copy(update={"task": "ner"})).task == "ner"


def test_an_endpoint_that_cannot_be_reached_is_not_asked_again():
    def refuse(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request.url)

    assert client_of(refuse).task(Health(status="unreachable")).task == "context_qa"


def test_predictions_are_asked_for_by_name_with_the_key():
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=predictions("ner", json.loads(request.content)["instances"]))

    found = client_of(answer).predict("a/b", [{"text": "Ann saw Rome."}])
    assert [entity.text for entity in found.predictions[0].entities] == ["Ann", "Rome"]
    assert asked[0].url.raw_path == b"/prefix/v1/models/a%2Fb:predict"
    assert asked[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (httpx.Response(200, json={"predictions": []}), "1 were sent and 0 came back"),
        (httpx.Response(200, json={"answers": []}), "Its predictions is wrong or missing"),
        (httpx.Response(200, text="<html>"), "cannot be read"),
        (httpx.Response(400, json={"error": f"no {KEY}"}), "No •••. Change the text and try again."),
        (httpx.Response(401, json={"error": "no"}), "is not one of the endpoint's keys"),
        (httpx.Response(404, json={"error": "no model"}), "Check API_URL"),
        (httpx.Response(413, text="too large"), "The text is too long"),
        (httpx.Response(502, text="<html><h1>502</h1></html>"), "A proxy got no answer"),
        (httpx.Response(503, text="no healthy upstream"), "No healthy upstream. Try again in a moment."),
        (httpx.Response(504, text=""), "ask with a shorter text"),
    ],
)
def test_what_goes_wrong_is_said_without_the_key(response, words):
    with pytest.raises(Problem, match=r"\w") as caught:
        client_of(lambda _: response).predict("m", [{"text": "x"}])
    assert words in str(caught.value)
    assert KEY not in str(caught.value)
    assert "<" not in str(caught.value)


def test_a_connection_that_breaks_is_said():
    def drop(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("gone")

    with pytest.raises(Problem, match="broke off"):
        client_of(drop).predict("m", [{"text": "x"}])
