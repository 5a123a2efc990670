"""Service and local model in one endpoint over HTTP; the service is a loopback server that speaks OpenAI's protocol."""

import asyncio
import json
import time
from dataclasses import replace

import httpx
import pytest
from llm_endpoint.answering import Caller, Question
from llm_endpoint.service import Service
from llm_endpoint.settings import Settings
from prometheus_client import CollectorRegistry
from support.endpoint_server import EndpointServer
from support.openai_server import OpenAiServer
from support.passed_model import write_judged_model
from support.scripted_core import ScriptedCore

pytestmark = pytest.mark.e2e

QUESTION = {"question": "Who keeps the light?", "context": "Ada keeps the light on Tern.", "max_new_tokens": 8}
TURNS = [{"role": "system", "content": QUESTION["context"]}, {"role": "user", "content": QUESTION["question"]}]
CHAT = {"messages": TURNS, "max_tokens": 8}
SETTINGS = {
    "STAND_IN": "local",
    # which starts without a conversion
    "ENGINE": "transformers",
    "FIRST_TOKEN_SECONDS": "0.5",
    "STALL_SECONDS": "0.5",
    "BREAKER_SECONDS": "0.3",
    "BREAKER_FAILURES": "2",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_judged_model(tmp_path_factory.mktemp("judged") / "small")


@pytest.fixture(scope="module")
def service():
    with OpenAiServer("It is Ada of the big service") as server:
        yield server


@pytest.fixture(scope="module")
def server(home, model, service):
    shadow = {"SHADOW_SAMPLE": "1", "SHADOW_CONSENT": "true", "SHADOW_DATASET": "shadow-of-a-test"}
    with EndpointServer(home, model=model, OPENAI_BASE_URL=service.url, **SETTINGS, **shadow) as server:
        yield server


@pytest.fixture(autouse=True)
def well(service, request):
    """Every test begins with a service that is well and asked."""
    service.mode, service.times, service.retry_after, service.seconds_per_token = "ok", None, None, 0.0
    if "server" in request.fixturenames:
        until_service(request.getfixturevalue("server"))


def post(server, path="/generate", body=QUESTION, **more):
    return httpx.post(f"{server.url}{path}", json=body | more, timeout=60)


def until_service(server, seconds=15.0):
    ended = time.monotonic() + seconds
    while time.monotonic() < ended:
        if post(server).headers["x-answered-by"] == "service":
            return
        time.sleep(0.1)
    pytest.fail("the service did not come back")


def events(response):
    lines = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def test_every_protocol_says_who_answered(server, service):
    for mode, source in (("ok", "service"), ("status", "local")):
        service.mode = mode
        answer = post(server)
        assert answer.headers["x-answered-by"] == answer.json()["answered_by"] == source
        assert answer.json()["model"] == ("stand-in" if source == "service" else "small")
        chat = post(server, "/openai/v1/chat/completions", CHAT)
        assert chat.headers["x-answered-by"] == chat.json()["answered_by"] == source
        assert chat.json()["system_fingerprint"].startswith(f"{source}:")
        parameters = {"max_new_tokens": 8}
        score = post(server, "/score", {"input_data": {"input_string": TURNS, "parameters": parameters}})
        assert score.json()["answered_by"] == source
        v1 = post(server, "/v1/models/llm-api:predict", {"instances": [QUESTION]})
        assert v1.json()["predictions"][0]["answered_by"] == source
        inputs = [
            {"name": n, "datatype": "BYTES", "shape": [1], "data": [QUESTION[n]]} for n in ("question", "context")
        ]
        v2 = post(server, "/v2/models/llm-api/infer", {"inputs": inputs, "parameters": {"max_new_tokens": 8}})
        assert v2.headers["x-answered-by"] == source
        stream = post(server, stream=True)
        assert stream.headers["x-answered-by"] == events(stream)[-1]["answered_by"] == source


@pytest.mark.parametrize(("mode", "status"), [("status", 500), ("status", 429), ("reset", 0), ("html", 0)])
def test_an_outage_is_answered_by_the_local_model(server, service, mode, status):
    service.mode, service.status = mode, status
    response = post(server)
    assert response.status_code == 200
    assert (response.json()["answered_by"], response.json()["model"]) == ("local", "small")
    assert response.json()["fallback"]


def test_a_callers_mistake_is_his_own(server, service):
    service.mode, service.status = "status", 400
    response = post(server)
    assert response.status_code == 400
    assert server.metric("llm_primary_breaker", state="closed") == 1


def test_a_service_that_hangs_is_hedged(server, service):
    service.seconds_per_token = 5.0
    began = time.monotonic()
    response = post(server)
    assert response.json()["fallback"] == "slow"
    assert time.monotonic() - began < 4
    assert server.metric("llm_hedges_total", winner="stand_in") >= 1


@pytest.mark.parametrize("mode", ["cut", "hang"])
def test_a_cut_stream_is_continued_and_the_official_client_reads_it(server, service, mode):
    from openai import OpenAI

    service.mode = mode
    with OpenAI(base_url=f"{server.url}/openai/v1", api_key="none") as client:
        chunks = list(client.chat.completions.create(model="llm-api", stream=True, **CHAT))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.startswith("It is")
    marks = [chunk.model_extra["handover"] for chunk in chunks if "handover" in (chunk.model_extra or {})]
    assert marks == [{"continued_by": "local", "reason": "cut" if mode == "cut" else "stalled"}]
    assert [chunk.system_fingerprint.partition(":")[0] for chunk in (chunks[0], chunks[-1])] == ["service", "local"]
    assert chunks[-1].choices[0].finish_reason in ("stop", "length")


def test_a_cut_answer_that_nobody_has_seen_is_the_local_models_alone(server, service):
    service.mode = "cut"
    response = post(server).json()
    assert (response["answered_by"], response["fallback"]) == ("local", "cut")
    assert not response["response"].startswith("It is")


def test_generate_marks_the_handover_in_its_stream(server, service):
    service.mode = "cut"
    found = events(post(server, stream=True))
    assert {"handover": {"continued_by": "local", "reason": "cut"}} in found
    assert found[-1]["answered_by"] == "service,local"
    assert found[-1]["response"].startswith("It is")


def test_shadow_rows_have_the_judges_columns_and_nothing_private(server, service, home):
    secret = "sk-" + "a1b2c3d4" * 4
    asked = post(server, context=f"Ada keeps the light. Her mail is ada@example.org, her key {secret}.")
    assert asked.json()["answered_by"] == "service"
    file = home / "datasets" / "shadow-of-a-test" / "batch_infer.jsonl"
    ended = time.monotonic() + 20
    rows = []
    while time.monotonic() < ended and not any("Her mail" in row["instructions"] for row in rows):
        time.sleep(0.1)
        rows = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
    row = next(row for row in rows if "Her mail" in row["instructions"])
    assert list(row) == ["instructions", "target_responses", "candidate_responses", "model_id", "model_sha"]
    assert row["target_responses"] == "It is Ada of the big service"
    assert (row["model_id"], len(row["model_sha"])) == ("small", 64)
    assert secret not in file.read_text()
    assert "ada@example.org" not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0


async def answer_once(**settings):
    """One answer of a service in this process, without HTTP; a scripted core in place of the local model."""
    core = ScriptedCore(range(40, 44))
    made = Service(Settings(**settings), CollectorRegistry(), lambda: core)
    await made.warm_up()
    answering = made.ready_answering()
    asked = Question(QUESTION["question"], QUESTION["context"])
    try:
        sampling = replace(answering.defaults, max_new_tokens=4)
        return await answering.finish(answering.ask(asked, sampling, Caller("test")))
    finally:
        await made.close()


def test_always_local_sends_nothing_and_a_start_needs_no_service(home, model, service):
    before = len(service.requests)
    common = {"model": str(model), "whetstone_home": home}
    always = asyncio.run(answer_once(**common, openai_base_url=service.url, stand_in="local", always_local=True))
    assert (always.sources, always.fallback) == ("local", "")
    assert len(service.requests) == before
    with OpenAiServer() as gone:
        url = gone.url
    without = asyncio.run(answer_once(**common, openai_base_url=url, stand_in="local"))
    assert (without.sources, without.fallback) == ("local", "open")
    other_way = asyncio.run(answer_once(**common, openai_base_url=url, stand_in="service"))
    assert (other_way.sources, other_way.fallback) == ("local", "")


def test_a_storm_during_an_outage_loses_nobody(server, service):
    service.mode, service.status = "status", 503

    async def storm():
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            return await asyncio.gather(*(client.post("/generate", json=QUESTION) for _ in range(60)))

    responses = asyncio.run(storm())
    assert {response.status_code for response in responses} == {200}
    assert {response.headers["x-answered-by"] for response in responses} == {"local"}
