"""The engine around a core: order, limits, cancellation, failure, and tokens becoming text."""

import asyncio

import pytest
from llm_endpoint.engines.seam import GenerationRequest, Sampling
from llm_endpoint.engines.text import AnswerText
from llm_endpoint.errors import GenerationError, InvalidInput, ModelError, NotReady, TooManyRequests
from support.scripted_core import ScriptedCore, scripted_engine
from support.small_tokenizers import byte_level, sentence_piece


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("tokenizer")
    byte_level().save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def tokenizer():
    return byte_level()


def ids_of(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def ask(text="What?", **sampling):
    return GenerationRequest(text=text, sampling=Sampling(**sampling))


async def receive(generation):
    return "".join([delta.text async for delta in generation])


def run(core, folder, body, **options):
    """Run `body(engine)` against a started engine, and stop it."""

    async def main():
        engine = scripted_engine(core, folder, **options)
        await engine.start()
        try:
            return await body(engine)
        finally:
            await engine.stop()

    return asyncio.run(asyncio.wait_for(main(), 20))


def test_every_caller_gets_the_whole_answer_whatever_runs_beside_it(folder, tokenizer):
    core = ScriptedCore(ids_of(tokenizer, "312 km, naïve – 漢字 🙂"), max_running=3)

    async def body(engine):
        generations = [engine.submit(ask()) for _ in range(10)]
        texts = await asyncio.gather(*map(receive, generations))
        return texts, generations

    texts, generations = run(core, folder, body)
    assert set(texts) == {"312 km, naïve – 漢字 🙂"}
    assert core.most_running == 3
    assert core.added == sorted(core.added)
    assert {g.finish_reason for g in generations} == {"stop"}
    assert {g.usage.completion_tokens for g in generations} == {len(core.answer)}
    assert {g.usage.cached_tokens for g in generations} == {3}


def test_a_full_queue_refuses_and_takes_again_when_there_is_room(folder, tokenizer):
    core = ScriptedCore(ids_of(tokenizer, "yes"), max_running=2)

    async def body(engine):
        core.go.clear()
        held = [engine.submit(ask()) for _ in range(5)]
        with pytest.raises(TooManyRequests, match="requests are already waiting"):
            engine.submit(ask())
        core.go.set()
        await asyncio.gather(*map(receive, held))
        return await receive(engine.submit(ask()))

    assert run(core, folder, body, max_queue=3) == "yes"


def test_a_cancelled_answer_leaves_no_work_whether_it_runs_or_waits(folder, tokenizer):
    core = ScriptedCore(ids_of(tokenizer, "a long answer"), max_running=1)

    async def body(engine):
        core.go.clear()
        running, waiting, kept = (engine.submit(ask()) for _ in range(3))
        while running.key not in core.running:
            await asyncio.sleep(0.01)
        running.cancel()
        waiting.cancel()
        core.go.set()
        text = await receive(kept)
        return running, waiting, text, engine.load()

    running, waiting, text, load = run(core, folder, body)
    assert text == "a long answer"
    assert core.cancelled == [running.key]
    assert waiting.key not in core.added
    assert load == (0, 0)
    assert running.finish_reason == waiting.finish_reason == "cancelled"


def test_a_step_that_fails_ends_what_ran_and_the_engine_goes_on(folder, tokenizer):
    core = ScriptedCore(ids_of(tokenizer, "a long answer"), max_running=1)

    async def body(engine):
        core.go.clear()
        held = [engine.submit(ask()) for _ in range(3)]
        core.failures = 1
        core.go.set()
        results = await asyncio.gather(*map(receive, held), return_exceptions=True)
        return results, engine.healthy()

    results, healthy = run(core, folder, body)
    assert [type(result) for result in results] == [GenerationError, str, str]
    assert "failed while it generated" in str(results[0])
    assert core.cancelled
    assert healthy


def test_a_core_that_keeps_failing_ends_the_engine(folder, tokenizer):
    core = ScriptedCore(ids_of(tokenizer, "a long answer"), max_running=1)

    async def body(engine):
        core.go.clear()
        held = [engine.submit(ask()) for _ in range(6)]
        core.failures = 1000
        core.go.set()
        results = await asyncio.gather(*map(receive, held), return_exceptions=True)
        with pytest.raises(GenerationError):
            engine.submit(ask())
        return results, engine.healthy()

    results, healthy = run(core, folder, body)
    assert [type(result) for result in results] == [GenerationError] * 6
    assert not healthy
    assert core.closed


def test_stopping_tells_those_who_wait(folder, tokenizer):
    core = ScriptedCore(ids_of(tokenizer, "a long answer"))

    async def main():
        engine = scripted_engine(core, folder)
        with pytest.raises(NotReady, match="warming up"):
            engine.submit(ask())
        await engine.start()
        core.go.clear()
        held = engine.submit(ask())
        await engine.stop()
        with pytest.raises(NotReady, match="shutting down"):
            await receive(held)

    asyncio.run(asyncio.wait_for(main(), 20))
    assert core.closed


def test_a_model_that_cannot_be_loaded_is_said_in_one_line(folder):
    def broken():
        raise OSError("no such weights\nand a second line")

    async def main():
        engine = scripted_engine(ScriptedCore([1]), folder)
        engine._open_core = broken
        with pytest.raises(ModelError, match=r"cannot be loaded: OSError: no such weights\.$"):
            await engine.start()

    asyncio.run(main())


def test_a_prompt_that_fills_the_model_is_refused_with_both_numbers(folder, tokenizer):
    core = ScriptedCore(ids_of(tokenizer, "yes"), context_length=60)

    async def body(engine):
        with pytest.raises(InvalidInput, match=r"the prompt has \d+ tokens and the model reads 60"):
            engine.submit(ask("word " * 100))
        with pytest.raises(InvalidInput, match="the prompt is empty"):
            engine.submit(ask(""))
        return await receive(engine.submit(ask(max_new_tokens=10_000)))

    assert run(core, folder, body) == "yes"


def test_an_answer_ends_at_its_stop_text_and_the_work_stops_too(folder, tokenizer):
    core = ScriptedCore(ids_of(tokenizer, "one two END three") + [40] * 500_000, context_length=1_000_000)

    async def body(engine):
        generation = engine.submit(ask(stop=("END",), max_new_tokens=900_000))
        text = await receive(generation)
        return text, generation.finish_reason, await receive(engine.submit(ask(max_new_tokens=2)))

    assert run(core, folder, body) == ("one two ", "stop", "II")
    assert core.cancelled


def test_a_line_break_ends_an_answer_of_one_line(folder, tokenizer):
    core = ScriptedCore(ids_of(tokenizer, "\n  Paris\nQuestion: and"))
    assert run(core, folder, lambda engine: receive(engine.submit(ask())), one_line=True) == "\n  Paris"
    assert "Question" in run(core, folder, lambda engine: receive(engine.submit(ask())))


@pytest.mark.parametrize("make", [byte_level, sentence_piece], ids=["byte level", "sentence piece"])
@pytest.mark.parametrize("text", ["312 km", "naïve 漢字 🙂🙂 e\u0301", " two  spaces ", "a\nb"])
def test_pieces_together_are_the_decoded_answer(make, text):
    fast = make()
    ids = ids_of(fast, text)
    backend = fast.backend_tokenizer
    for size in (1, 2, 100):
        answer = AnswerText(backend, (), one_line=False)
        chunks = [ids[i : i + size] for i in range(0, len(ids), size)]
        pieces = [answer.add(chunk, last=chunk is chunks[-1]) for chunk in chunks]
        assert "".join(pieces) == backend.decode(ids, skip_special_tokens=True)


def test_what_could_begin_a_stop_text_is_held_back_until_it_is_clear(tokenizer):
    answer = AnswerText(tokenizer.backend_tokenizer, ("###",), one_line=False)
    assert answer.add(ids_of(tokenizer, "a#"), last=False) == "a"
    assert answer.add(ids_of(tokenizer, "b"), last=False) == "#b"
    assert answer.add(ids_of(tokenizer, "##"), last=False) == ""
    assert answer.add(ids_of(tokenizer, "#c"), last=False) == ""
    assert answer.ended
    cut_short = AnswerText(tokenizer.backend_tokenizer, ("###",), one_line=False)
    assert cut_short.add(ids_of(tokenizer, "a#"), last=True) == "a#"
