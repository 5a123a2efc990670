"""The three service LLMs, through their real clients over HTTP; a loopback server stands in for each service."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import BaseModel
from support.service_llm_server import Fault, ServiceLLMServer

from components.core.errors import ConfigError, ServiceLLMError
from components.core.service_llm import (
    ServiceLLM,
    ServiceLLMConfig,
    ServiceRefused,
    ServiceUnavailable,
    open_service_llm,
)
from components.core.settings import Settings

pytestmark = pytest.mark.e2e

KEY = "sk-ant-test-secret-4711"
SETTINGS = Settings(gemini_api_key=KEY, openai_api_key=KEY, anthropic_api_key=KEY)
PROVIDERS = ("openai", "anthropic", "gemini")
QUESTION = [("system", "Be brief."), ("user", "What is the capital of France?")]


class City(BaseModel):
    city: str


def config(server: ServiceLLMServer, provider: str = "openai", **changes: Any) -> ServiceLLMConfig:
    values = {"rate_limit_per_minute": 60_000, "timeout_seconds": 5, "max_retries": 3, "temperature": 0.5}
    return ServiceLLMConfig.model_validate(
        {"provider": provider, "model": "m-1", "base_url": server.url(provider), **values, **changes}
    )


def run(server: ServiceLLMServer, do: Any, provider: str = "openai", settings: Settings = SETTINGS, **changes: Any):
    """What `do(llm)` gives, and the service LLM, whose waits between tries take no time."""

    async def main() -> tuple[Any, ServiceLLM]:
        async with open_service_llm(config(server, provider, **changes), settings) as llm:
            waits: list[float] = []

            async def sleep(seconds: float) -> None:
                waits.append(seconds)

            llm._sleep, llm.waits = sleep, waits
            return await do(llm), llm

    return asyncio.run(main())


def ask(llm: ServiceLLM) -> Any:
    return llm.ask(QUESTION)


@contextmanager
def refusal(answer: str | Fault, told: str) -> Iterator[Any]:
    """A server that always answers so, and the error that is expected."""
    with ServiceLLMServer(lambda *_: answer) as server, pytest.raises(ServiceLLMError, match=told) as error:
        yield server, error


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_question_is_asked_and_its_tokens_are_counted(provider):
    with ServiceLLMServer("Paris") as server:
        prices = {"price_per_million_input": 2.0, "price_per_million_output": 30.0}
        reply, llm = run(server, ask, provider, **prices)
    assert (reply.text, reply.input_tokens, reply.output_tokens) == ("Paris", 100, 10)
    assert (llm.usage.calls, llm.usage.input_tokens, llm.usage.output_tokens) == (1, 100, 10)
    assert llm.usage.cost == pytest.approx(0.0005)
    assert "Be brief." in server.calls[0].prompt
    assert "capital of France" in server.calls[0].prompt
    assert any(KEY in value for value in server.calls[0].headers.values())


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    "fault",
    [Fault(503), Fault(429, headers={"Retry-After": "7"}), Fault(cut=True), Fault(seconds=0.6)],
    ids=["503", "429", "cut", "timeout"],
)
def test_trouble_that_passes_costs_one_more_call_and_no_more(provider, fault):
    with ServiceLLMServer(lambda _call, number: fault if number == 0 else "Paris") as server:
        (reply, llm) = run(server, unpaused(ask), provider, timeout_seconds=0.4 if fault.seconds else 5)
    assert reply.text == "Paris"
    # the clients' own tries are off, else the server would have seen more calls than were counted
    assert len(server.calls) == llm.usage.calls == 2
    assert llm.usage.failed_calls == 1
    if fault.status == 429:
        assert 7 <= llm.waits[0] <= 7.7


def unpaused(do: Any) -> Any:
    """The pause that Retry-After asks for is tested with the limiter; here it would only take its time."""

    async def work(llm: ServiceLLM) -> Any:
        llm.limiter.pause = lambda _seconds: None
        return await do(llm)

    return work


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("status", [401, 404, 400])
def test_what_no_try_can_mend_is_told_at_once_and_never_with_the_key(provider, status):
    with (
        ServiceLLMServer(lambda *_: Fault(status, f"cannot serve {KEY} with this")) as server,
        pytest.raises(ServiceLLMError, match=f"answered {status}") as error,
    ):
        run(server, ask, provider)
    assert len(server.calls) == 1
    assert KEY not in str(error.value)
    assert "cannot serve" in str(error.value)
    assert isinstance(error.value, ServiceRefused) == (status != 400)


def test_an_empty_account_is_not_asked_again():
    with refusal(Fault(429, "You exceeded your quota: insufficient_quota"), "billing") as (server, error):
        run(server, ask)
    assert len(server.calls) == 1
    assert isinstance(error.value, ServiceRefused)


def test_a_service_that_stays_away_is_given_up_after_its_tries():
    with (
        ServiceLLMServer(lambda *_: Fault(529)) as server,
        pytest.raises(ServiceUnavailable, match="529.*4 tries in all"),
    ):
        run(server, ask, "anthropic")
    assert len(server.calls) == 4
    with pytest.raises(ServiceUnavailable, match="did not answer"):
        run(server, ask, "openai", max_retries=0)


def test_malformed_json_is_asked_for_again_with_the_reason():
    answers = ["Paris", '{"town": "Paris"}', '```json\n{"city": "Paris"}\n```']
    with ServiceLLMServer(lambda _call, number: answers[number]) as server:
        reply, llm = run(server, lambda llm: llm.ask_json(QUESTION, City))
    assert (reply.value, reply.calls) == (City(city="Paris"), 3)
    assert (reply.input_tokens, llm.usage.input_tokens) == (300, 300)
    assert "no JSON object" in server.calls[1].prompt
    assert "city: Field required" in server.calls[2].prompt


def test_json_that_never_comes_is_an_error_with_the_last_reason():
    with (
        ServiceLLMServer('{"city": 7}') as server,
        pytest.raises(ServiceLLMError, match="no valid JSON in 10 attempts.*city: Input should be a valid string"),
    ):
        run(server, lambda llm: llm.ask_json(QUESTION, City))
    assert len(server.calls) == 10


def test_the_rate_is_reached_over_http_by_the_servers_own_clock():
    async def many(llm: ServiceLLM) -> None:
        await asyncio.gather(*(llm.ask(QUESTION) for _ in range(50)))

    with ServiceLLMServer("Paris") as server:
        run(server, many, rate_limit_per_minute=1200)
        times = sorted(call.time for call in server.calls)
    # 20 a second; the first ones wait for their connections
    assert (len(times) - 11) / (times[-1] - times[10]) == pytest.approx(20, rel=0.05)


def test_one_service_llm_works_in_one_event_loop_after_another():
    with ServiceLLMServer("Paris") as server:
        for provider in PROVIDERS:
            llm = open_service_llm(config(server, provider), SETTINGS)
            for _ in range(2):
                started = time.monotonic()
                assert asyncio.run(llm.ask(QUESTION)).text == "Paris"
                assert time.monotonic() - started < 4
            assert llm.usage.calls == llm.usage.failed_calls + 2 == 2


def test_without_a_key_only_a_server_of_ones_own_is_asked():
    nobody = Settings(gemini_api_key=None, google_api_key=None, openai_api_key=None, anthropic_api_key=None)
    for provider in PROVIDERS:
        with pytest.raises(ConfigError, match="Set .*_API_KEY"):
            open_service_llm(ServiceLLMConfig(provider=provider, model="m"), nobody)
    with ServiceLLMServer("Paris") as server:
        reply, _ = run(server, ask, settings=nobody)
    assert reply.text == "Paris"


@pytest.mark.parametrize("address", ["127.0.0.1:8080/v1", "ftp://host/v1", "http://user:secret@host/v1"])
def test_an_address_that_cannot_be_right_is_refused(address):
    with pytest.raises(ValueError, match="must"):
        ServiceLLMConfig(provider="openai", model="m", base_url=address)
