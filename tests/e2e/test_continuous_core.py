"""Architectures of all kinds in the continuous loop, held against transformers' own generate."""

import random
from typing import Any

import pytest
from llm_endpoint.engines.continuous import ContinuousCore
from llm_endpoint.engines.continuous.opening import core_of_model
from llm_endpoint.engines.continuous.packed import PackedModel
from llm_endpoint.engines.continuous.single import SingleModel
from llm_endpoint.engines.seam import Sampling

pytestmark = pytest.mark.e2e

WINDOW = 16
_SHARED = {"vocab_size": 200, "hidden_size": 32, "initializer_range": 0.3, "bos_token_id": None, "eos_token_id": None}
_LLAMA = {
    **_SHARED, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 256, "pad_token_id": None,
}  # fmt: skip
_LAYERS = ["sliding_attention", "full_attention", "sliding_attention"]
_LONG_ROPE = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [2.0] * 4}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
_LINEAR = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
}  # fmt: skip

PACKED: dict[str, dict[str, Any]] = {
    "Llama": _LLAMA,
    "Mistral": {**_LLAMA, "sliding_window": WINDOW},
    "Qwen2": {**_LLAMA, "use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    "Qwen3": {**_LLAMA, "head_dim": 8},
    "Gemma": {**_LLAMA, "head_dim": 8},
    "Gemma2": {**_LLAMA, "head_dim": 8, "sliding_window": WINDOW, "query_pre_attn_scalar": 8},
    "Gemma3Text": {
        **_LLAMA, "head_dim": 8, "sliding_window": WINDOW, "query_pre_attn_scalar": 8, "layer_types": _LAYERS,
    },
    "GPT2": {**_SHARED, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 256},
    "GPTNeoX": {**_LLAMA, "num_key_value_heads": 4},
    "Phi": _LLAMA,
    "Phi3": _LLAMA | {"original_max_position_embeddings": 64, "rope_parameters": {
        **_LONG_ROPE, "original_max_position_embeddings": 64,
    }},
    "Mixtral": {**_LLAMA, "num_local_experts": 4},
    "OPT": {
        **_SHARED, "ffn_dim": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": 256,
        "word_embed_proj_dim": 32, "init_std": 0.3,
    },
}  # fmt: skip
SINGLE: dict[str, dict[str, Any]] = {
    # biases by distance, local attention without an interface, chunks, attention sinks, recurrent states, and both
    "Bloom": {**_SHARED, "n_layer": 3, "n_head": 4},
    "GPTNeo": {
        **_SHARED, "num_layers": 4, "attention_types": [[["global", "local"], 2]], "num_heads": 4,
        "window_size": WINDOW, "max_position_embeddings": 256,
    },
    "Llama4Text": {
        **_LLAMA, "head_dim": 8, "num_local_experts": 2, "attention_chunk_size": WINDOW, "intermediate_size_mlp": 64,
    },
    "GptOss": {**_LLAMA, "head_dim": 8, "num_local_experts": 4, "sliding_window": WINDOW, "rope_parameters": {
        "rope_type": "default", "rope_theta": 1e4,
    }},
    "Mamba": {**_SHARED, "state_size": 8, "num_hidden_layers": 3, "pad_token_id": None},
    "Qwen3Next": {
        **_LLAMA, "head_dim": 8, "shared_expert_intermediate_size": 32, **_EXPERTS, **_LINEAR,
    },
}  # fmt: skip


def build(name: str, options: dict[str, Any]) -> Any:
    import torch
    import transformers

    torch.manual_seed(1)
    torch.set_num_threads(1)
    config = getattr(transformers, f"{name}Config")(**options)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def prompts_for(context_length: int, new_tokens: int) -> list[list[int]]:
    draw = random.Random(3)
    prompts = [[draw.randrange(3, 200) for _ in range(draw.randint(1, context_length - new_tokens))] for _ in range(7)]
    # two that begin like another
    return [*prompts, prompts[4][:40] + prompts[5][:9], prompts[6][:30] + prompts[1][:9]]


def run(core: ContinuousCore, prompts: list[list[int]], sampling: Sampling) -> list[list[int]]:
    """One request joins with every step."""
    answers: list[list[int]] = [[] for _ in prompts]
    arriving = list(enumerate(prompts))
    while True:
        if arriving:
            core.add(*arriving.pop(0), sampling, frozenset())
        steps = core.step()
        for step in steps:
            answers[step.key] += step.token_ids
        if not steps:
            return answers


@pytest.mark.parametrize(
    ("name", "options", "way"),
    [(name, options, PackedModel) for name, options in PACKED.items()]
    + [(name, options, SingleModel) for name, options in SINGLE.items()],
    ids=[*PACKED, *SINGLE],
)
def test_each_row_gets_the_tokens_that_generate_gives_it_alone(name: str, options: dict[str, Any], way: type) -> None:
    import torch

    sampling = Sampling(max_new_tokens=20, repetition_penalty=1.1)
    core = core_of_model(build(name, options), max_running=4, kv_cache_gb=0.01, context_length=256)
    assert type(core._model) is way
    # the long form of the rotary embedding would change what shorter rows say
    assert core.context_length == (64 if "original_max_position_embeddings" in options else 256)
    prompts = prompts_for(core.context_length, sampling.max_new_tokens)
    answers = run(core, prompts, sampling)
    plain = build(name, options)
    for ids, answer in zip(prompts, answers, strict=True):
        expected = plain.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=sampling.max_new_tokens,
            do_sample=False,
            repetition_penalty=sampling.repetition_penalty,
        )
        assert answer == expected[0, len(ids) :].tolist()


def test_memory_is_flat_over_thousands_of_requests() -> None:
    import psutil

    core = core_of_model(build("Llama", _LLAMA), max_running=8, kv_cache_gb=0.01, context_length=256)
    process, sizes = psutil.Process(), []
    for turn in range(6):
        draw = random.Random(turn)
        prompts = [[draw.randrange(3, 200) for _ in range(draw.randint(1, 60))] for _ in range(500)]
        answers = run(core, prompts, Sampling(max_new_tokens=3))
        assert all(len(answer) == 3 for answer in answers)
        sizes.append(process.memory_info().rss / 2**20)
    # the first turns fill the reserved memory and the allocator's pools
    assert sizes[-1] - sizes[1] < 10
