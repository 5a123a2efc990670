"""A tiny Llama, converted for OpenVINO, answers many requests at once with the tokens of transformers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llm_endpoint.engines.openvino.core import GenAiCore
from llm_endpoint.engines.openvino.equality import check_equality
from llm_endpoint.engines.openvino.export import NotConvertible
from llm_endpoint.engines.seam import Sampling
from llm_endpoint.engines.torch_model import load_torch_model
from support.openvino_engine import (
    CONTEXT,
    NO_STOP,
    answer,
    convert_here,
    finish,
    load_here,
    some_prompts,
    transformers_tokens,
)
from support.tiny_llama import write_tiny_llama

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("model"), positions=CONTEXT)


@pytest.fixture(scope="module")
def converted(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    return convert_here(model, tmp_path_factory.mktemp("converted"))


@pytest.fixture
def core(converted: tuple[Path, dict[str, Any]]) -> Iterator[GenAiCore]:
    core = load_here(*converted)
    yield core
    core.close()


def test_conversion_records_what_was_compared(converted: tuple[Path, dict[str, Any]]):
    equality = converted[1]["equality"]
    assert equality["prompts"] == 8  # seven random lengths and one that was handed in
    assert equality["tokens"] == 8 * 2 * 16
    assert json.loads((converted[0] / "conversion.json").read_text())["equality"] == equality


@pytest.mark.parametrize("penalty", [1.0, 1.03, 1.3])
def test_tokens_are_those_of_transformers(model: Path, core: GenAiCore, penalty: float):
    prompts = some_prompts(4, seed=7)
    answers, reasons = answer(core, prompts, Sampling(max_new_tokens=40, repetition_penalty=penalty))
    assert answers == [transformers_tokens(model, prompt, penalty, 40) for prompt in prompts]
    assert set(reasons) == {"length"}


def test_requests_together_answer_as_alone_while_more_arrive_and_prefixes_are_reused(core: GenAiCore):
    prompts = some_prompts(20)
    sampling = Sampling(max_new_tokens=20)
    together, _ = answer(core, prompts, sampling)  # 20 at once, of which 8 run
    assert [answer(core, [prompt], sampling)[0][0] for prompt in prompts] == together


def test_requests_that_do_not_fit_at_once_still_answer_the_same(
    core: GenAiCore, converted: tuple[Path, dict[str, Any]]
):
    prompts = some_prompts(12, seed=3)
    sampling = Sampling(max_new_tokens=60)
    blocks_for_one = 9 * 32 * converted[1]["token_bytes"] / 2**30
    small = load_here(*converted, kv_cache_gb=blocks_for_one)
    assert small.context_length == CONTEXT
    assert answer(small, prompts, sampling) == answer(core, prompts, sampling)
    small.close()


def test_end_token_stops_the_answer_and_is_not_part_of_it(core: GenAiCore):
    prompt = [5, 6, 7]
    free = answer(core, [prompt], Sampling(max_new_tokens=12, repetition_penalty=1.3))[0][0]
    end = free[5]
    stopped, reasons = answer(
        core, [prompt], Sampling(max_new_tokens=12, repetition_penalty=1.3), frozenset({end, 257})
    )
    assert stopped == [free[: free.index(end)]]
    assert reasons == ["stop"]


def test_sampling_repeats_with_a_seed_and_varies_without(core: GenAiCore):
    drawn = [
        answer(core, [[5, 6, 7]], Sampling(max_new_tokens=20, do_sample=True, temperature=1.5, top_k=50, seed=seed))[0][
            0
        ]
        for seed in (-3, -3, None, None)
    ]
    assert drawn[0] == drawn[1]
    assert drawn[2] != drawn[3]


def test_cancelled_request_ends_and_the_others_go_on(core: GenAiCore):
    prompts = some_prompts(6, seed=5)
    sampling = Sampling(max_new_tokens=40)
    expected, _ = answer(core, prompts, sampling)
    for key, prompt in enumerate(prompts):
        core.add(key, prompt, sampling, NO_STOP)
    started: dict[int, list[int]] = {key: [] for key in range(6)}
    while min(len(tokens) for tokens in started.values()) < 3:
        for step in core.step():
            started[step.key] += step.token_ids
    for key in (0, 2, 4, 99):
        core.cancel(key)
    rest, _ = finish(core, {1, 3, 5})
    assert [started[key] + rest[key] for key in (1, 3, 5)] == [expected[key] for key in (1, 3, 5)]
    assert core.step() == []


def test_cancelling_the_last_request_frees_its_memory(core: GenAiCore):
    core.add(1, [5] * 100, Sampling(max_new_tokens=100), NO_STOP)
    core.step()
    core.cancel(1)
    assert not core._pipeline.has_non_finished_requests()


def test_key_of_a_cancelled_request_can_be_used_again(core: GenAiCore):
    sampling = Sampling(max_new_tokens=10)
    expected = answer(core, [[7, 8, 9]], sampling)[0][0]
    core.add(1, [5, 6], sampling, NO_STOP)
    core.add(2, [7, 8, 9], sampling, NO_STOP)
    core.step()
    core.cancel(1)
    core.add(1, [7, 8, 9], sampling, NO_STOP)
    assert finish(core, {1, 2})[0][1] == expected


def test_request_waits_for_the_room_of_a_cancelled_one(converted: tuple[Path, dict[str, Any]]):
    core = load_here(*converted, kv_cache_gb=9 * 32 * converted[1]["token_bytes"] / 2**30)
    core.add(1, [5] * 220, Sampling(max_new_tokens=30), NO_STOP)
    core.step()
    core.add(2, [6] * 220, Sampling(max_new_tokens=3), NO_STOP)
    core.cancel(1)
    tokens, reasons = finish(core, {2})
    assert len(tokens[2]) == 3
    assert reasons == {2: "length"}
    core.close()


def test_adapter_is_merged_into_its_base(model: Path, tmp_path: Path):
    from peft import LoraConfig, get_peft_model

    base = load_torch_model(model)
    adapted = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    converted, record = convert_here(tmp_path / "adapter", tmp_path / "cache", base_folder=str(model))
    core = load_here(converted, record)
    merged = load_torch_model(tmp_path / "adapter", model)
    assert check_equality(core, merged, some_prompts(3)).tokens == 3 * 2 * 16
    core.close()


def test_int8_is_smaller_and_says_how_often_it_agrees(
    model: Path, converted: tuple[Path, dict[str, Any]], tmp_path: Path
):
    folder, record = convert_here(model, tmp_path, precision="int8")
    weights = [path / "openvino_model.bin" for path in (folder, converted[0])]
    assert weights[0].stat().st_size < weights[1].stat().st_size / 2
    assert 0.2 < record["int8_agreement"] <= 1
    core = load_here(folder, record)
    assert answer(core, some_prompts(3), Sampling(max_new_tokens=5))[1] == ["length"] * 3
    core.close()


def test_model_with_other_tokens_than_transformers_is_refused(core: GenAiCore, tmp_path: Path):
    other = load_torch_model(write_tiny_llama(tmp_path, seed=1, positions=CONTEXT))
    with pytest.raises(
        NotConvertible, match=r"differ from transformers' \(prompt of \d+ tokens, repetition_penalty 1.0"
    ):
        check_equality(core, other, some_prompts(3))
