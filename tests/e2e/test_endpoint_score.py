"""POST /score on the real server: the starter as it is, and a tiny model with a chat template."""

import httpx
import pytest
from support.endpoint_server import EndpointServer, ask
from support.run_output import write_llama

pytestmark = pytest.mark.e2e

CONTEXT = "The keeper of the light on Tern Island was Ada Morrow. Its tower is white."
QUESTION = "Who was the keeper of the light?"
TURNS = [{"role": "system", "content": CONTEXT}, {"role": "user", "content": QUESTION}]
TRUTH = {"role": "assistant", "content": "Ada Morrow"}
GREEDY = {"temperature": 0.6, "top_p": 0.9, "do_sample": False, "max_new_tokens": 200}
DRAWN = {"temperature": 5.0, "top_p": 1.0, "do_sample": True, "max_new_tokens": 12}


def score(server, turns, parameters=None, headers=None, **more):
    body = {"input_data": {"input_string": turns, "parameters": parameters or {}}, "params": {}} | more
    return httpx.post(f"{server.url}/score", json=body, headers=headers, timeout=60)


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    """An endpoint on a random Llama with a chat template: it says nonsense, in real tokens."""
    folder = tmp_path_factory.mktemp("chat")
    write_llama(folder / "model", chat=True)
    with EndpointServer(folder, folder / "model", ENGINE="transformers", API_KEY_PRIMARY="first") as server:
        yield server


KEY = {"x-api-key": "first"}
SAID = [{"role": "user", "content": "When was the bridge opened ?"}]


def test_a_context_model_answers_the_last_user_turn_from_what_comes_before(endpoint):
    response = score(endpoint, TURNS, GREEDY)
    assert response.status_code == 200, response.text
    assert response.json()["output"] == ask(endpoint, QUESTION, CONTEXT).json()["response"] != ""
    assert response.json()["note"] is None
    assert "x-note" not in response.headers
    assert response.headers["x-trace-id"] == response.json()["trace_id"]
    assert endpoint.metric("llm_requests_total", route="/score", status="200") >= 1


def test_a_trailing_assistant_turn_changes_nothing_and_is_said(endpoint):
    plain, with_truth = score(endpoint, TURNS, GREEDY), score(endpoint, [*TURNS, TRUTH], GREEDY)
    assert with_truth.json()["output"] == plain.json()["output"]
    assert with_truth.json()["usage"]["prompt_tokens"] == plain.json()["usage"]["prompt_tokens"]
    assert with_truth.headers["x-note"] == with_truth.json()["note"]
    assert with_truth.json()["note"].startswith("the trailing assistant turn was left out")
    assert f"{with_truth.json()['trace_id']}: the trailing assistant turn" in endpoint.log


def test_the_text_alone_is_given_to_who_accepts_only_that(endpoint):
    response = score(endpoint, TURNS, GREEDY, {"accept": "text/plain"})
    assert response.headers["content-type"].startswith("text/plain")
    assert response.text == score(endpoint, TURNS, GREEDY).json()["output"]


def test_parameters_that_are_not_known_are_named(endpoint):
    response = score(endpoint, TURNS, GREEDY | {"max_tokens": 3, "bad\nname": 1}, params={"x": 1})
    assert response.json()["output"] == score(endpoint, TURNS, GREEDY).json()["output"]
    assert "left out: max_tokens; params was left out" in response.headers["x-note"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "input_data: Field required"),
        ({"input_data": {"input_string": []}}, "input_data.input_string: List should have at least 1 item"),
        ({"input_data": {"input_string": "Hello"}}, "input_data.input_string: Input should be a valid list"),
        ({"input_data": {"input_string": [{"role": "bot", "content": "x"}]}}, "input_data.input_string.0.role"),
        ({"input_data": {"input_string": [TRUTH]}}, "holds turns of the assistant only"),
        ({"input_data": {"input_string": [TURNS[0]]}}, "ends with a turn of system"),
        ({"input_data": {"input_string": [TURNS[1]]}}, "send the context as a system message"),
        ({"input_data": {"input_string": TURNS, "parameters": {"top_p": 7}}}, "input_data.parameters.top_p"),
        ({"input_data": {"input_string": TURNS, "parameters": []}}, "input_data.parameters"),
        ({"input_data": {"input_string": TURNS}, "params": 1}, "params"),
    ],
)
def test_a_wrong_request_is_one_clear_400(endpoint, body, message):
    response = httpx.post(f"{endpoint.url}/score", json=body)
    assert response.status_code == 400, response.text
    assert list(response.json()) == ["error"]
    assert message in response.json()["error"]


def test_a_chat_model_gets_the_messages_in_its_template(chat):
    ours = score(chat, SAID, {"do_sample": False, "max_new_tokens": 12}, KEY)
    body = {"messages": SAID, "max_tokens": 12}
    theirs = httpx.post(f"{chat.url}/openai/v1/chat/completions", json=body, headers=KEY, timeout=60).json()
    assert ours.json()["output"] == theirs["choices"][0]["message"]["content"] != ""
    assert ours.json()["usage"]["prompt_tokens"] == theirs["usage"]["prompt_tokens"]


def test_sampling_is_honoured(chat):
    greedy = score(chat, SAID, DRAWN | {"do_sample": False}, KEY).json()
    drawn = [score(chat, SAID, DRAWN | {"seed": seed}, KEY).json() for seed in (1, 1, 2)]
    assert greedy["output"] == score(chat, SAID, DRAWN | {"do_sample": False}, KEY).json()["output"]
    assert drawn[0]["output"] == drawn[1]["output"]
    assert len({greedy["output"], drawn[0]["output"], drawn[2]["output"]}) == 3
    short = score(chat, SAID, {"max_new_tokens": 3, "do_sample": False}, KEY).json()
    assert short["usage"]["completion_tokens"] == 3
    assert short["finish_reason"] == "length"


def test_the_key_and_the_size_of_the_body_hold_here_too(chat):
    assert score(chat, SAID).status_code == 401
    assert score(chat, [{"role": "user", "content": "x" * 3_000_000}], None, KEY).status_code == 413
    assert score(chat, [{"role": "user", "content": "bridge " * 200}], None, KEY).status_code == 400
