"""Every protocol of the endpoint, by the official client of each, against the real server and a real model."""

import asyncio
import json
import subprocess

import httpx
import pytest
from support.endpoint_server import ask

pytestmark = pytest.mark.e2e

CONTEXT = "The keeper of the light on Tern Island was Ada Morrow. Its tower is white."
QUESTION = "Who was the keeper of the light?"
MODEL = "llm-api"


@pytest.fixture(scope="module")
def answer(endpoint):
    """What the model says; every protocol must say the same."""
    response = ask(endpoint, QUESTION, CONTEXT)
    assert response.status_code == 200, response.text
    return response.json()


def events(text):
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: {")]


def test_generate_answers_with_evidence_numbers_and_a_trace_id(answer):
    assert answer["response"].strip() == answer["response"] != ""
    assert answer["usage"]["prompt_tokens"] > 20
    assert answer["usage"]["completion_tokens"] > 0
    assert answer["latency_seconds"] >= answer["time_to_first_token_seconds"] > 0
    assert len(answer["trace_id"]) == 36
    for span in answer["spans"]:
        assert 0 <= span["start"] < span["end"] <= len(CONTEXT)
    assert answer["supported"] is bool(answer["spans"])


def test_a_streamed_answer_is_the_same_answer(endpoint, answer):
    response = ask(endpoint, QUESTION, CONTEXT, stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    *pieces, last = events(response.text)
    assert "".join(piece["delta"] for piece in pieces).strip() == last["response"] == answer["response"]
    assert last["spans"] == answer["spans"]
    assert response.headers["x-trace-id"] == last["trace_id"]


@pytest.mark.parametrize("body", [{"question": "x"}, {"context": "x"}, {}, {"question": "", "context": "x"}])
def test_both_fields_are_required_in_these_words(endpoint, body):
    response = httpx.post(f"{endpoint.url}/generate", json=body)
    assert response.status_code == 400
    assert response.json() == {"error": "Both 'question' and 'context' are required"}


@pytest.mark.parametrize("content", [b"", b"not json", b"[1]", b"\xff\xfe", b'{"question": "\\ud800", "context": "x"}'])
def test_what_is_not_a_json_object_is_400(endpoint, content):
    response = httpx.post(f"{endpoint.url}/generate", content=content)
    assert response.status_code == 400
    assert response.json()["error"].startswith("the body is not")


def test_the_openai_client_lists_chats_streams_and_completes(endpoint, answer):
    import openai

    client = openai.OpenAI(base_url=f"{endpoint.url}/openai/v1", api_key="any", max_retries=0)
    assert [model.id for model in client.models.list()] == [MODEL]
    messages = [{"role": "system", "content": CONTEXT}, {"role": "user", "content": QUESTION}]
    whole = client.chat.completions.create(model=MODEL, messages=messages)
    assert whole.choices[0].message.content == answer["response"]
    assert whole.choices[0].finish_reason in ("stop", "length")
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    assert whole.usage.prompt_tokens == answer["usage"]["prompt_tokens"]
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=messages, stream=True, stream_options={"include_usage": True}
        )
    )
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said.strip() == answer["response"]
    assert chunks[-1].usage == whole.usage or chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    text = client.completions.create(model=MODEL, prompt=f"Context: {CONTEXT}\nQuestion: {QUESTION}\nAnswer:")
    assert text.choices[0].text == answer["response"]
    pieces = client.completions.create(model=MODEL, prompt=f"Context: {CONTEXT}\nQuestion:", max_tokens=5, stream=True)
    assert [piece.choices[0].finish_reason for piece in pieces][-1] in ("stop", "length")


def test_the_openai_client_sees_our_errors(endpoint):
    import openai

    client = openai.OpenAI(base_url=f"{endpoint.url}/openai/v1", api_key="any", max_retries=0)
    messages = [{"role": "system", "content": "x"}, {"role": "user", "content": "y"}]
    with pytest.raises(openai.NotFoundError, match="is not served here. Use 'llm-api'"):
        client.chat.completions.create(model="gpt-4o", messages=messages)
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.chat.completions.create(model=MODEL, messages=messages, temperature=99)
    with pytest.raises(openai.BadRequestError, match="send the context as a system message"):
        client.chat.completions.create(model=MODEL, messages=messages[1:])


def test_langchain_chat_openai_invokes_and_streams(endpoint, answer):
    from langchain_openai import ChatOpenAI

    llm = ChatOpenAI(base_url=f"{endpoint.url}/openai/v1", api_key="any", model=MODEL, temperature=0, stream_usage=True)
    messages = [("system", CONTEXT), ("human", QUESTION)]
    whole = llm.invoke(messages)
    assert whole.content == answer["response"]
    assert whole.usage_metadata["input_tokens"] == answer["usage"]["prompt_tokens"]
    chunks = list(llm.stream(messages))
    assert "".join(str(chunk.content) for chunk in chunks).strip() == answer["response"]
    assert sum(chunk.usage_metadata["output_tokens"] for chunk in chunks if chunk.usage_metadata) > 0


def test_kserves_client_predicts_by_v1_and_infers_by_v2(endpoint, answer):
    from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

    async def both():
        v1 = InferenceRESTClient(RESTConfig(protocol="v1", timeout=60))
        v2 = InferenceRESTClient(RESTConfig(protocol="v2", timeout=60))
        predicted = await v1.infer(
            endpoint.url, {"instances": [{"question": QUESTION, "context": CONTEXT}] * 3}, model_name=MODEL
        )
        inputs = [
            InferInput(name, [2], "BYTES", [text] * 2) for name, text in (("question", QUESTION), ("context", CONTEXT))
        ]
        inferred = await v2.infer(endpoint.url, InferRequest(MODEL, inputs), model_name=MODEL)
        ready = await v2.is_server_ready(endpoint.url), await v2.is_model_ready(endpoint.url, MODEL)
        return predicted, inferred, ready

    predicted, inferred, ready = asyncio.run(both())
    assert [each["response"] for each in predicted["predictions"]] == [answer["response"]] * 3
    outputs = {output.name: output.data for output in inferred.outputs}
    assert outputs["response"] == [answer["response"]] * 2
    assert outputs["supported"] == [answer["supported"]] * 2
    assert json.loads(outputs["spans"][0]) == answer["spans"]
    assert ready == (True, True)


def test_v2_takes_binary_tensors(endpoint, answer):
    import numpy as np
    from kserve import InferInput, InferRequest

    inputs = []
    for name, text in (("question", QUESTION), ("context", CONTEXT)):
        tensor = InferInput(name, [1], "BYTES")
        tensor.set_data_from_numpy(np.array([text.encode()], dtype=object), binary_data=True)
        inputs.append(tensor)
    body, json_length = InferRequest(MODEL, inputs).to_rest()
    response = httpx.post(
        f"{endpoint.url}/v2/models/{MODEL}/infer",
        content=body,
        headers={"inference-header-content-length": str(json_length), "content-type": "application/octet-stream"},
    )
    assert response.status_code == 200, response.text
    outputs = {output["name"]: output["data"] for output in response.json()["outputs"]}
    assert outputs["response"] == [answer["response"]]


def test_curl_streams(endpoint, answer):
    body = json.dumps({"question": QUESTION, "context": CONTEXT, "stream": True})
    command = ["curl", "-sN", f"{endpoint.url}/generate", "-H", "content-type: application/json", "-d", body]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert events(done.stdout)[-1]["response"] == answer["response"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"instances": []}, "send {"),
        ({}, "send {"),
        ({"instances": ["x"]}, "instances.0 is not an object"),
        ({"instances": [{"question": "a", "context": "b"}, {"question": "a"}]}, "instances.1: context"),
        ({"instances": [{"question": "a", "context": "b"}] * 65}, "65 instances are too many"),
    ],
)
def test_a_wrong_v1_request_is_told_what_and_where(endpoint, body, message):
    response = httpx.post(f"{endpoint.url}/v1/models/{MODEL}:predict", json=body)
    assert response.status_code == 400
    assert message in response.json()["error"]


def test_kserves_load_and_unload_are_not_offered(endpoint):
    for verb in ("load", "unload"):
        response = httpx.post(f"{endpoint.url}/v2/repository/models/{MODEL}/{verb}")
        assert response.status_code == 404
    assert httpx.get(f"{endpoint.url}/readyz").status_code == 200


def test_health_metrics_and_the_page_are_there(endpoint, answer):
    health = httpx.get(f"{endpoint.url}/healthz").json()
    assert health["status"] == "ready"
    assert health["revision"] == answer["revision"]
    assert endpoint.metric("llm_requests_total", route="/generate", status="200") >= 1
    assert endpoint.metric("llm_tokens_total", kind="completion") >= answer["usage"]["completion_tokens"]
    assert endpoint.metric("llm_time_to_first_token_seconds_count") >= 1
    page = httpx.get(f"{endpoint.url}/docs").text
    assert "/openapi.json" in page
    assert "https://" not in page  # a cluster without a way out shows it too
    assert httpx.get(f"{endpoint.url}/docs/static/swagger-ui-bundle.js").status_code == 200
    paths = httpx.get(f"{endpoint.url}/openapi.json").json()["paths"]
    assert {
        "/generate",
        "/score",
        "/feedback",
        "/openai/v1/chat/completions",
        "/v1/models/{model_name}:predict",
    } <= set(paths)


def test_feedback_becomes_a_row_only_with_consent(endpoint, answer):
    def send(**more):
        body = {"trace_id": answer["trace_id"], "score": 0.0, "correction": "Ada Morrow", **more}
        return httpx.post(f"{endpoint.url}/feedback", json=body)

    kept = endpoint.log_file.parent / "feedback.jsonl"
    assert send().json()["stored"] is False
    assert not kept.exists()
    assert send(consent=True).json()["stored"] is True
    assert send(consent=True).json()["stored"] is False  # once is enough
    (line,) = kept.read_text(encoding="utf-8").splitlines()
    row = json.loads(line)
    assert row["answers"] == {"text": ["Ada Morrow"], "answer_start": [CONTEXT.index("Ada Morrow")]}
    assert send(trace_id="0" * 32).status_code == 404
    assert send(score=7).status_code == 400
