import gc
import random
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from llm_endpoint.engines.continuous import ContinuousCore, open_continuous_core
from llm_endpoint.engines.continuous.rows import draw_token, new_generator
from llm_endpoint.engines.seam import FinishReason, Sampling
from llm_endpoint.errors import ModelError
from support.tiny_llama import write_tiny_llama

GREEDY = Sampling(max_new_tokens=12, repetition_penalty=1.1)
NO_STOP: frozenset[int] = frozenset()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("model"), positions=1024)


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder).eval()


def open_core(folder: Path, max_running: int = 4, kv_cache_gb: float = 0.01, context_length: int = 1024) -> Any:
    return open_continuous_core(
        folder,
        base_folder=None,
        threads=1,
        max_running=max_running,
        kv_cache_gb=kv_cache_gb,
        context_length=context_length,
    )


def prompt(length: int, seed: int = 0) -> list[int]:
    draw = random.Random(seed)
    return [draw.randrange(2, 258) for _ in range(length)]


def expect(model: Any, ids: Sequence[int], sampling: Sampling = GREEDY) -> list[int]:
    """What transformers' own generate says to this prompt alone."""
    import torch

    answer = model.generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        max_new_tokens=sampling.max_new_tokens,
        min_new_tokens=sampling.max_new_tokens,
        do_sample=False,
        repetition_penalty=sampling.repetition_penalty,
        suppress_tokens=None,
        eos_token_id=-1,
        pad_token_id=0,
    )
    return [int(token) for token in answer[0, len(ids) :]]


class Answers:
    """Steps a core and collects what it says, by key."""

    def __init__(self, core: ContinuousCore) -> None:
        self.core = core
        self.tokens: dict[int, list[int]] = {}
        self.reasons: dict[int, FinishReason] = {}
        self.cached: dict[int, int] = {}

    def step(self) -> set[int]:
        """One step; the keys that it reported."""
        steps = self.core.step()
        for step in steps:
            self.tokens.setdefault(step.key, []).extend(step.token_ids)
            if step.cached_tokens is not None:
                assert step.key not in self.cached
                self.cached[step.key] = step.cached_tokens
            if step.finish_reason is not None:
                assert step.key not in self.reasons
                self.reasons[step.key] = step.finish_reason
        return {step.key for step in steps}

    def finish(self) -> "Answers":
        while self.step():
            pass
        return self


def test_rows_that_come_and_go_get_the_tokens_of_generate(folder: Path, model: Any) -> None:
    answers = Answers(open_core(folder, max_running=3))
    prompts = [prompt(length, seed) for seed, length in enumerate((1, 40, 300, 7, 700, 2, 90))]
    samplings = [Sampling(max_new_tokens=4 + 3 * key, repetition_penalty=1 + key / 10) for key in range(len(prompts))]
    for key, (ids, sampling) in enumerate(zip(prompts, samplings, strict=True)):
        answers.core.add(key, ids, sampling, NO_STOP)
        answers.step()
    answers.finish()
    assert set(answers.reasons.values()) == {"length"}
    for key, (ids, sampling) in enumerate(zip(prompts, samplings, strict=True)):
        assert answers.tokens[key] == expect(model, ids, sampling)


def test_the_end_token_ends_an_answer_and_is_not_part_of_it(folder: Path, model: Any) -> None:
    answers = Answers(open_core(folder))
    expected = expect(model, prompt(20))
    end = expected[5]
    answers.core.add(1, prompt(20), GREEDY, frozenset({end, -7}))
    answers.core.add(2, prompt(20), GREEDY, NO_STOP)
    answers.finish()
    assert answers.tokens == {1: expected[: expected.index(end)], 2: expected}
    assert answers.reasons == {1: "stop", 2: "length"}


def test_a_long_prompt_does_not_hold_up_the_others(folder: Path) -> None:
    answers = Answers(open_core(folder))
    answers.core.add(1, prompt(5), Sampling(max_new_tokens=20), NO_STOP)
    answers.step()
    answers.core.add(2, prompt(900, seed=2), Sampling(max_new_tokens=2), NO_STOP)
    for step in range(1, 4):
        assert answers.step() == {1, 2}
        assert len(answers.tokens[1]) == 1 + step
        assert answers.tokens[2] == []
    answers.step()
    assert len(answers.tokens[2]) == 1


def test_nothing_to_do_is_an_empty_step(folder: Path) -> None:
    assert open_core(folder).step() == []


def test_a_cancelled_row_gives_its_place_to_the_next_at_once(folder: Path, model: Any) -> None:
    answers = Answers(open_core(folder, max_running=1))
    for key in (1, 2, 3):
        answers.core.add(key, prompt(30, key), GREEDY, NO_STOP)
    assert answers.step() == {1}
    answers.core.cancel(1)
    answers.core.cancel(2)
    answers.core.cancel(99)
    assert answers.step() == {3}
    answers.finish()
    assert answers.tokens[3] == expect(model, prompt(30, 3))
    assert set(answers.reasons) == {3}


def test_a_shared_prefix_is_read_once(folder: Path, model: Any) -> None:
    answers = Answers(open_core(folder))
    context = prompt(400)
    prompts = [context + prompt(10 + key, key) for key in range(4)]
    for key in (0, 1):
        answers.core.add(key, prompts[key], GREEDY, NO_STOP)
    answers.finish()
    for key in (2, 3):
        answers.core.add(key, prompts[key], GREEDY, NO_STOP)
    answers.finish()
    assert answers.cached[0] == 0
    # the second came while the first was still being read
    assert [answers.cached[key] >= 140 for key in (1, 2, 3)] == [True, True, True]
    assert answers.cached[2] >= 400
    assert [answers.tokens[key] for key in range(4)] == [expect(model, ids) for ids in prompts]


def test_the_same_prompt_again_still_computes_its_last_token(folder: Path, model: Any) -> None:
    answers = Answers(open_core(folder))
    for key in (1, 2):
        answers.core.add(key, prompt(50), GREEDY, NO_STOP)
        answers.finish()
    assert answers.cached == {1: 0, 2: 49}
    assert answers.tokens[1] == answers.tokens[2] == expect(model, prompt(50))


def test_a_small_memory_makes_rows_wait_and_cuts_the_context(
    folder: Path, model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    # two layers of two heads of 8 numbers, keys and values, 4 bytes each: 256 bytes a token
    core = open_core(folder, kv_cache_gb=300 * 256 / 2**30)
    assert core.context_length == 300
    assert "Context cut from 1024 to 300 tokens" in caplog.text
    answers = Answers(core)
    for key in range(6):
        core.add(key, prompt(120, key), GREEDY, NO_STOP)
    assert answers.step() == {0, 1}
    answers.finish()
    assert [answers.tokens[key] for key in range(6)] == [expect(model, prompt(120, key)) for key in range(6)]


def test_a_memory_that_holds_next_to_nothing_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="KV_CACHE_GB=1e-05 holds only 41 tokens.*Set it higher"):
        open_core(folder, kv_cache_gb=1e-5)


def test_a_seed_gives_the_same_tokens_in_any_company(folder: Path) -> None:
    sampling = Sampling(max_new_tokens=20, do_sample=True, temperature=1.5, top_p=0.95, seed=7)
    alone = Answers(open_core(folder))
    alone.core.add(1, prompt(30), sampling, NO_STOP)
    alone.finish()
    company = Answers(open_core(folder))
    for key, seed in ((2, 8), (3, None), (1, 7)):
        seeded = Sampling(max_new_tokens=20, do_sample=True, temperature=1.5, top_p=0.95, seed=seed)
        company.core.add(key, prompt(30), seeded, NO_STOP)
        company.step()
    company.finish()
    assert company.tokens[1] == alone.tokens[1]
    assert company.tokens[2] != alone.tokens[1]
    assert company.tokens[3] != alone.tokens[1]


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(do_sample=True, temperature=0.7),
        Sampling(do_sample=True, top_k=5),
        Sampling(do_sample=True, top_p=0.6),
        Sampling(do_sample=True, temperature=1.4, top_k=12, top_p=0.8),
        Sampling(do_sample=True, top_k=500),
    ],
)
@pytest.mark.parametrize("vocabulary", [40, 3000])
def test_tokens_are_drawn_from_the_distribution_of_transformers(sampling: Sampling, vocabulary: int) -> None:
    import torch
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    # flat enough that top_p reaches beyond the usual candidates of the large vocabulary
    scores = torch.randn(vocabulary, generator=torch.Generator().manual_seed(1)) * (2 if vocabulary < 100 else 0.1)
    wanted = TemperatureLogitsWarper(sampling.temperature)(None, scores[None])
    if sampling.top_k:
        wanted = TopKLogitsWarper(sampling.top_k)(None, wanted)
    if sampling.top_p < 1:
        wanted = TopPLogitsWarper(sampling.top_p)(None, wanted)
    chances = wanted[0].softmax(-1)
    generator = new_generator(3)
    draws = torch.tensor([draw_token(scores, sampling, generator) for _ in range(1000)])
    assert float(chances[draws].min()) > 0
    seen = torch.bincount(draws, minlength=vocabulary) / len(draws)
    # total variation distance over 40 groups of tokens: a right sampler is at about 0.08 after a thousand draws
    assert float((seen - chances).view(40, -1).sum(1).abs().sum()) / 2 < 0.12


@pytest.mark.parametrize(
    "extreme",
    [{"temperature": 1e-30}, {"temperature": 1e30}, {"repetition_penalty": 1e-40}, {"repetition_penalty": 1e38},
     {"top_p": 1e-9}, {"top_k": 10**6}, {"seed": -1}, {"seed": 2**70}],
)  # fmt: skip
def test_extreme_parameters_do_not_stop_the_loop(folder: Path, extreme: dict[str, Any]) -> None:
    answers = Answers(open_core(folder))
    answers.core.add(1, prompt(9), Sampling(max_new_tokens=5, do_sample=True, **extreme), NO_STOP)
    answers.finish()
    assert len(answers.tokens[1]) == 5


def test_closing_frees_the_model(folder: Path) -> None:
    core = open_core(folder)
    core.add(1, prompt(9), GREEDY, NO_STOP)
    core.step()
    model = weakref.ref(core._model)
    core.close()
    gc.collect()
    assert model() is None
