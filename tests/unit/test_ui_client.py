import httpx
import pytest
from support.endpoint_stand_in import TRACE_ID, EndpointStandIn

from ui.client import EndpointClient
from ui.contract import Answer, Feedback
from ui.problems import Problem
from ui.settings import Settings

CONTEXT = "The ferry left. Mark Kraltosund commands the ferry."
KEY = "sk-canary-0123456789"
FINAL = b'data: {"response": "blue", "supported": true, "spans": [{"start": 0, "end": 4}], "trace_id": "t"}\n\n'


def client_of(url: str, key: str | None = None, timeout: float = 5.0) -> EndpointClient:
    return EndpointClient(Settings(api_url=url, api_key=key, request_timeout_seconds=timeout))


def client_that_gets(status: int, body: bytes, headers: dict[str, str] | None = None) -> EndpointClient:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, content=body, headers=headers))
    return EndpointClient(Settings(api_url="http://endpoint:8080/prefix/", api_key=KEY), transport)


def everything(client: EndpointClient) -> tuple[str, Answer]:
    *text, answer = client.generate("Who commands the ferry?", CONTEXT, "session-1")
    assert isinstance(answer, Answer)
    return "".join(str(piece) for piece in text), answer


def problem_of(client: EndpointClient) -> Problem:
    with pytest.raises(Problem, match=r"\w") as caught:
        list(client.generate("Who?", CONTEXT, "session-1"))
    return caught.value


@pytest.fixture(scope="module")
def endpoint():
    with EndpointStandIn() as stand_in:
        yield stand_in
        stand_in.mode = "answer"


def test_the_pieces_come_in_order_and_the_complete_answer_last(endpoint):
    endpoint.mode = "answer"
    text, answer = everything(client_of(endpoint.url))
    assert text == answer.response == "Mark Kraltosund"
    assert [CONTEXT[span.start : span.end] for span in answer.spans] == ["Mark Kraltosund"]
    assert endpoint.questions[-1] == {
        "question": "Who commands the ferry?",
        "context": CONTEXT,
        "stream": True,
        "session_id": "session-1",
    }


def test_an_answer_in_one_piece_of_json_is_taken_as_well():
    body = b'{"response": "blue", "supported": true, "trace_id": "t"}'
    text, answer = everything(client_that_gets(200, body, {"content-type": "application/json"}))
    assert (text, answer.response) == ("", "blue")


def test_the_key_is_sent_only_when_there_is_one():
    with EndpointStandIn(api_key=KEY) as endpoint:
        assert everything(client_of(endpoint.url, key=f"{KEY}\n"))[0] == "Mark Kraltosund"
        assert "Set API_KEY in the environment of this page" in str(problem_of(client_of(endpoint.url)))
        assert "is not one of the endpoint's keys" in str(problem_of(client_of(endpoint.url, key="other")))


@pytest.mark.parametrize(
    ("mode", "kind", "words"),
    [
        ("rejected", "rejected", "The prompt has 900 tokens; 512 fit. Change the context"),
        ("too_large", "too_large", "Shorten it"),
        ("busy", "busy", "Try again in 7 s."),
        ("warming", "unavailable", "Try again in 5 s."),
        ("timeout", "timeout", "No answer within 120 s."),
        ("failed", "failed", "The endpoint failed (500). The engine failed."),
        ("html", "upstream", "A proxy got no answer from the endpoint (502). See whether"),
        ("denied", "forbidden", "RBAC: access denied. Its access policy"),
        ("login", "login", "Set API_URL to the endpoint's address inside the cluster."),
        ("page", "garbled", "sent text/html"),
        ("error_midway", "failed", "The engine failed after 2 tokens."),
        ("cut", "cut", "ended before the answer was complete"),
    ],
)
def test_each_failure_says_what_happened_and_what_to_do(endpoint, mode, kind, words):
    endpoint.mode = mode
    problem = problem_of(client_of(endpoint.url))
    assert problem.kind == kind
    assert words in str(problem)
    assert problem.advice
    assert "<" not in str(problem)


def test_text_that_arrived_before_a_failure_is_not_lost(endpoint):
    endpoint.mode = "error_midway"
    pieces = client_of(endpoint.url).generate("Who?", CONTEXT, "s")
    assert [next(pieces), next(pieces)] == ["Mark", " Kraltosund"]
    with pytest.raises(Problem, match="stopped before the end"):
        next(pieces)


def test_an_endpoint_that_is_down_is_named_with_its_address():
    with EndpointStandIn() as endpoint:
        url = endpoint.url
    problem = problem_of(client_of(url))
    assert problem.kind == "unreachable"
    assert f"Nothing answers at {url}." in problem.advice


def test_a_silent_endpoint_is_given_up(endpoint):
    endpoint.mode = "silent"
    problem = problem_of(client_of(endpoint.url, timeout=0.1))
    endpoint.mode = "answer"
    assert problem.kind == "timeout"
    assert "REQUEST_TIMEOUT_SECONDS" in problem.advice


def test_leaving_an_answer_early_hangs_up(endpoint):
    endpoint.mode = "slow"
    endpoint.hung_up.clear()
    pieces = client_of(endpoint.url).generate("Who?", CONTEXT, "s")
    assert next(pieces) == "word "
    pieces.close()
    assert endpoint.hung_up.wait(5)
    endpoint.mode = "answer"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"data: {not json\n\n", "damaged"),
        (b"data: [1]\n\n", "damaged"),
        (b'data: {"response": 7}\n\n', "Its response is wrong or missing"),
        (b'data: {"delta": "x"}\n\n', "ended before the answer was complete"),
        (b"", "ended before the answer was complete"),
    ],
)
def test_a_damaged_stream_is_a_problem_and_not_an_answer(body, words):
    assert words in str(problem_of(client_that_gets(200, body, {"content-type": "text/event-stream"})))


def test_no_message_repeats_the_key():
    echo = f'{{"error": "key {KEY} is unknown"}}'.encode()
    stream = {"content-type": "text/event-stream"}
    for problem in (
        problem_of(client_that_gets(500, echo)),
        problem_of(client_that_gets(200, b"data: " + echo + b"\n\n", stream)),
    ):
        assert KEY not in str(problem)
        assert "Key ••• is unknown" in problem.said


def test_a_path_in_the_address_is_kept():
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, content=FINAL, headers={"content-type": "text/event-stream; charset=utf-8"})

    everything(EndpointClient(Settings(api_url="http://endpoint/serving/qa"), httpx.MockTransport(answer)))
    assert asked == ["http://endpoint/serving/qa/generate"]


def test_health_tells_ready_from_warming(endpoint):
    client = client_of(endpoint.url)
    endpoint.mode = "answer"
    assert (client.health().status, client.health().model) == ("ready", "starter-context-qa")
    endpoint.mode = "warming"
    assert client.health().status == "warming"


def test_health_reads_the_state_from_an_error_status_too():
    assert client_that_gets(503, b'{"status": "stopping"}').health().status == "stopping"


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b"<html>Welcome</html>", "This is not the endpoint. Check API_URL"),
        (502, b"<html>502 Bad Gateway</html>", "A proxy got no answer"),
        (403, b"RBAC: access denied", "AuthorizationPolicy"),
    ],
)
def test_health_explains_what_is_not_the_endpoint(status, body, words):
    health = client_that_gets(status, body).health()
    assert health.status == "unreachable"
    assert words in health.detail
    assert "<" not in health.detail


FEEDBACK = Feedback(
    trace_id=TRACE_ID,
    score=0.0,
    correction="Ann",
    comment=None,
    consent=True,
    question="Who?",
    context=CONTEXT,
    response="Mark Kraltosund",
)


def test_feedback_arrives_as_it_was_given(endpoint):
    endpoint.mode = "answer"
    receipt = client_of(endpoint.url).send_feedback(FEEDBACK)
    assert (receipt.stored, receipt.detail) == (True, "Feedback received.")
    assert endpoint.feedback[-1] == FEEDBACK.model_dump()


def test_feedback_on_an_answer_that_is_forgotten_says_to_ask_again(endpoint):
    endpoint.mode = "forgetful"
    with pytest.raises(Problem, match="no longer knows this answer. Ask again"):
        client_of(endpoint.url).send_feedback(FEEDBACK)
