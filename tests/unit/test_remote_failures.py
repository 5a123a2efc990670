from typing import Any

import pytest
from llm_endpoint.engines.remote import RemoteEngine, engine
from llm_endpoint.errors import (
    EndpointError,
    InvalidInput,
    ModelError,
    NotReady,
    RequestTimeout,
    TooManyRequests,
    UpstreamError,
)
from support.openai_server import OpenAiServer
from support.remote_engine import KEY, ask, failing, read, serve, until


def test_a_wrong_key_stops_the_start_and_is_not_told() -> None:
    with (
        OpenAiServer(api_key="another") as server,
        pytest.raises(ModelError, match="401.*OPENAI_API_KEY") as caught,
    ):
        serve(server, lambda remote: read(remote, ask()), key=KEY)
    assert KEY not in str(caught.value)


def test_a_key_that_is_withdrawn_is_the_operators_business() -> None:
    async def use(remote: RemoteEngine) -> None:
        server.api_key = "rotated"
        await read(remote, ask())

    with OpenAiServer(api_key=KEY) as server, pytest.raises(UpstreamError, match="OPENAI_API_KEY") as caught:
        serve(server, use, key=KEY)
    assert KEY not in str(caught.value)


def test_what_the_server_says_of_a_bad_request_is_passed_on_without_the_key() -> None:
    hint = f"The context is too long. Your key is {KEY}."
    with OpenAiServer(mode="refuse_parameters", unknown_parameters=("temperature",), hint=hint) as server:
        error = failing(server, key=KEY)
    assert isinstance(error, InvalidInput)
    assert "The context is too long. Your key is ***." in str(error)


def test_too_many_requests_carry_the_servers_retry_after() -> None:
    with OpenAiServer(mode="status", status=429, retry_after="6.2") as server:
        error = failing(server)
    assert isinstance(error, TooManyRequests)
    assert error.retry_after == 7
    assert len(server.requests) == 2


def test_a_failing_server_is_asked_once_more() -> None:
    async def use(remote: RemoteEngine) -> Any:
        server.mode, server.times = "status", 1
        return await read(remote, ask())

    with OpenAiServer("yes") as server:
        assert serve(server, use)[0] == "yes"
    assert len(server.requests) == 3


@pytest.mark.parametrize(("status", "kind"), [(500, UpstreamError), (502, UpstreamError), (503, NotReady)])
def test_a_server_that_keeps_failing_is_named(status: int, kind: type[EndpointError]) -> None:
    with OpenAiServer(mode="status", status=status) as server:
        error = failing(server)
        assert server.url.removeprefix("http://").removesuffix("/v1") in str(error)
    assert isinstance(error, kind)
    assert len(server.requests) == 3


def test_a_server_that_went_away_is_unreachable() -> None:
    async def use(remote: RemoteEngine) -> None:
        server.stop()
        await read(remote, ask())

    with OpenAiServer() as server, pytest.raises(NotReady, match="cannot be reached"):
        serve(server, use)


def test_a_server_that_is_not_there_stops_the_start() -> None:
    with OpenAiServer() as server:
        url = server.url
    with pytest.raises(ModelError, match="cannot be reached.*OPENAI_BASE_URL"):
        serve(url, lambda remote: read(remote, ask()))


def test_a_model_that_is_not_there_stops_the_start() -> None:
    with OpenAiServer() as server, pytest.raises(ModelError, match="no model 'gone'.*OPENAI_MODEL"):
        serve(server, lambda remote: read(remote, ask()), model="gone")


@pytest.mark.parametrize("url", ["vllm:8000", "ftp://vllm/v1", "http://", "http://[", "http://vllm:port/v1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ModelError, match="OPENAI_BASE_URL is not an address"):
        RemoteEngine(url, None, None, 1.0, 1, 1)


@pytest.mark.parametrize(
    ("mode", "said"),
    [("cut", "before the answer was complete"), ("malformed", "no answer"), ("stream_error", "broke the answer off")],
)
def test_an_answer_that_breaks_off_is_not_tried_again(mode: Any, said: str) -> None:
    async def use(remote: RemoteEngine) -> str:
        server.mode = mode
        pieces: list[str] = []
        with pytest.raises(UpstreamError, match=said):
            await read(remote, ask(), pieces)
        return "".join(pieces)

    with OpenAiServer("one two three four") as server:
        text = serve(server, use)
    assert text == "one two"
    assert len(server.requests) == 2


def test_a_web_page_is_no_answer() -> None:
    with OpenAiServer(mode="html") as server:
        assert isinstance(failing(server), UpstreamError)


def test_a_connection_that_breaks_before_the_first_token_is_tried_again() -> None:
    with OpenAiServer(mode="reset") as server:
        error = failing(server)
    assert isinstance(error, NotReady)
    assert len(server.requests) == 3


def test_a_silent_server_runs_into_the_time_limit() -> None:
    with OpenAiServer(mode="hang") as server:
        error = failing(server, timeout_seconds=0.5)
    assert isinstance(error, RequestTimeout)
    assert "0.5 seconds" in str(error)


def test_waiting_counts_towards_the_time_limit() -> None:
    async def use(remote: RemoteEngine) -> None:
        server.seconds_per_token = 0.3
        remote.submit(ask())
        await read(remote, ask())

    with OpenAiServer() as server, pytest.raises(RequestTimeout):
        serve(server, use, timeout_seconds=0.4, max_running=1)


def test_health_follows_the_upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PROBE_SECONDS", 0.05)
    monkeypatch.setattr(engine, "RETRY_SECONDS", 0.01)

    async def use(remote: RemoteEngine) -> list[bool]:
        server.mode = "status"
        seen = []
        for _ in range(3):
            with pytest.raises(UpstreamError):
                await read(remote, ask())
            seen.append(remote.healthy())
        server.mode = "ok"
        await until(remote.healthy)
        return seen

    with OpenAiServer() as server:
        assert serve(server, use) == [True, True, False]
