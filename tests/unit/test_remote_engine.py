import asyncio
import logging
from contextlib import aclosing
from typing import Any

import pytest
from llm_endpoint.engines.remote import RemoteEngine
from llm_endpoint.engines.seam import Delta, GenerationRequest, Sampling
from llm_endpoint.errors import InvalidInput, NotReady, TooManyRequests
from support.openai_server import OpenAiServer
from support.remote_engine import KEY, PLAIN, ask, read, serve, until


def test_a_chat_is_streamed_with_its_usage() -> None:
    with OpenAiServer("Paris is the answer", api_key=KEY) as server:
        text, generation = serve(server, lambda remote: read(remote, ask("one two three")), key=KEY)
    assert text == "Paris is the answer"
    assert generation.finish_reason == "stop"
    assert (generation.usage.prompt_tokens, generation.usage.completion_tokens) == (3, 4)
    sent = server.requests[-1]
    assert sent["path"] == "/v1/chat/completions"
    assert sent["messages"] == [{"role": "user", "content": "one two three"}]
    assert (sent["temperature"], sent["max_tokens"], sent["stream_options"]) == (0, 512, {"include_usage": True})


def test_a_text_is_continued_as_it_stands() -> None:
    with OpenAiServer("a b c d") as server:
        request = GenerationRequest(text="one two", sampling=Sampling(max_new_tokens=2, stop=("\n",)))
        text, generation = serve(server, lambda remote: read(remote, request))
    assert (text, generation.finish_reason) == ("a b", "length")
    sent = server.requests[-1]
    assert (sent["path"], sent["prompt"], sent["stop"]) == ("/v1/completions", "one two", ["\n"])


def test_the_first_listed_model_is_taken_and_its_context_length() -> None:
    async def use(remote: RemoteEngine) -> Any:
        return remote.info

    with OpenAiServer(model="qwen", max_model_len=4096) as server:
        info = serve(server, use)
    assert (info.engine, info.model, info.context_length, info.precision) == ("openai", "qwen", 4096, "remote")
    assert len(server.requests) == 1
    assert server.requests[0]["max_tokens"] == 1


def test_without_a_key_none_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with OpenAiServer() as server:
        serve(server, lambda remote: read(remote, ask()))
    assert all("authorization" not in {name.lower() for name in sent["headers"]} for sent in server.requests)


def test_a_base_model_without_chat_template_is_warmed_up_by_a_text() -> None:
    request = GenerationRequest(text="one", sampling=PLAIN)
    with OpenAiServer(chat=False) as server:
        assert serve(server, lambda remote: read(remote, request))[0] == "Paris is the answer"


def test_foreign_parameters_are_sent_only_when_they_say_something() -> None:
    sampled = Sampling(do_sample=True, temperature=0.7, top_p=0.9, top_k=5, repetition_penalty=1.2, seed=3)
    with OpenAiServer() as server:
        serve(server, lambda remote: read(remote, ask()))
        plain = server.requests[-1]
        serve(server, lambda remote: read(remote, ask(sampling=sampled)))
        full = server.requests[-1]
    assert not {"repetition_penalty", "top_k", "top_p", "seed", "stop"} & set(plain)
    wanted = {"temperature": 0.7, "top_p": 0.9, "top_k": 5, "repetition_penalty": 1.2, "seed": 3}
    assert {name: full[name] for name in wanted} == wanted


def test_refused_parameters_are_left_out_once_and_for_all() -> None:
    async def use(remote: RemoteEngine) -> list[str]:
        sampling = Sampling(do_sample=True, top_k=5, repetition_penalty=1.2)
        return [(await read(remote, ask(sampling=sampling)))[0] for _ in range(3)]

    with OpenAiServer("yes", mode="refuse_parameters") as server:
        assert serve(server, use) == ["yes"] * 3
    # warm-up, the refused one, its second try, two more
    assert ["top_k" in sent for sent in server.requests] == [False, True, False, False, False]


def test_a_server_that_wants_max_completion_tokens_gets_it() -> None:
    # hosted reasoning models name the parameter to use in their refusal
    hint = "Use 'max_completion_tokens' instead."
    with OpenAiServer("yes", mode="refuse_parameters", unknown_parameters=("max_tokens",), hint=hint) as server:
        assert serve(server, lambda remote: read(remote, ask()))[0] == "yes"
    assert server.requests[-1]["max_completion_tokens"] == 512
    assert len(server.requests) == 3


def test_leaving_hangs_up_at_the_upstream() -> None:
    async def use(remote: RemoteEngine) -> Any:
        server.seconds_per_token = 0.05
        generation = remote.submit(ask())
        async with aclosing(generation.__aiter__()) as pieces:
            async for _ in pieces:
                break
        generation.cancel()
        await until(lambda: server.disconnects == 1 and server.open == 0)
        assert [delta async for delta in generation] == []
        return generation, remote.load()

    with OpenAiServer("word " * 200) as server:
        generation, load = serve(server, use)
    assert generation.finish_reason == "cancelled"
    assert load == (0, 0)


def test_a_waiting_request_that_is_cancelled_is_never_sent() -> None:
    async def use(remote: RemoteEngine) -> None:
        server.seconds_per_token = 0.05
        first = remote.submit(ask("first"))
        second = remote.submit(ask("second"))
        await until(lambda: server.open == 1)
        second.cancel()
        assert [delta async for delta in second] == []
        assert "".join([delta.text async for delta in first]) == "Paris is the answer"

    with OpenAiServer() as server:
        serve(server, use, max_running=1)
    assert [sent["messages"][0]["content"] for sent in server.requests[1:]] == ["first"]


def test_running_and_waiting_requests_are_bounded() -> None:
    async def use(remote: RemoteEngine) -> list[str]:
        server.seconds_per_token = 0.03
        taken = [remote.submit(ask()) for _ in range(5)]
        with pytest.raises(TooManyRequests, match="5 requests"):
            remote.submit(ask())
        await until(lambda: server.open == 2)
        assert remote.load() == (2, 3)
        return ["".join([delta.text async for delta in generation]) for generation in taken]

    with OpenAiServer() as server:
        assert serve(server, use, max_running=2, max_queue=3) == ["Paris is the answer"] * 5
        assert server.most_open == 2


def test_tokens_are_merged_after_the_first() -> None:
    async def use(remote: RemoteEngine) -> list[Delta]:
        return [delta async for delta in remote.submit(ask())]

    with OpenAiServer(" ".join(["word"] * 300)) as server:
        pieces = serve(server, use)
    assert "".join(piece.text for piece in pieces) == server.reply
    assert sum(piece.tokens for piece in pieces) == 300
    assert len(pieces) < 150


def test_requests_come_after_the_start_and_before_the_stop() -> None:
    async def use() -> None:
        remote = RemoteEngine(server.url, None, None, 10.0, 4, 4)
        with pytest.raises(NotReady, match="not answered yet"):
            remote.submit(ask())
        await remote.start()
        with pytest.raises(InvalidInput, match="empty"):
            remote.submit(GenerationRequest(text=""))
        server.seconds_per_token = 0.2
        generation = remote.submit(ask())
        await until(lambda: server.open == 1)
        await remote.stop()
        with pytest.raises(NotReady, match="shutting down"):
            _ = [delta async for delta in generation]
        with pytest.raises(NotReady):
            remote.submit(ask())

    with OpenAiServer() as server:
        asyncio.run(use())


def test_neither_key_nor_prompt_nor_answer_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with OpenAiServer("answer-canary two three", mode="refuse_parameters", api_key=KEY) as server:
        request = ask("prompt-canary", Sampling(repetition_penalty=1.3))
        serve(server, lambda remote: read(remote, request), key=KEY)
    assert "repetition_penalty" in caplog.text
    assert not any(canary in caplog.text for canary in (KEY, "prompt-canary", "answer-canary"))
