"""Adapters in one running batch, held against peft's own generate; and the adapters that are refused."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from llm_endpoint.engines.continuous import ContinuousCore, open_continuous_core
from llm_endpoint.engines.continuous.opening import core_of_model
from llm_endpoint.engines.continuous.single import SingleModel
from llm_endpoint.engines.seam import Sampling
from llm_endpoint.errors import ModelError
from support.tiny_adapters import peft_says, write_adapter
from support.tiny_llama import write_tiny_llama

NO_STOP: frozenset[int] = frozenset()
GREEDY = Sampling(max_new_tokens=10, repetition_penalty=1.1)
EVERYTHING = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def folders(base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A usual adapter, one on everything with another scale and rank by layer, and one on a few layers."""
    home = tmp_path_factory.mktemp("adapters")
    everywhere = {"use_rslora": True, "rank_pattern": {"k_proj": 2}, "alpha_pattern": {"layers.0.mlp.up_proj": 3}}
    return [
        write_adapter(home / "usual", base),
        write_adapter(home / "everywhere", base, seed=2, rank=8, targets=EVERYTHING, **everywhere),
        write_adapter(home / "few", base, seed=3, targets=["down_proj"], layers_to_transform=[1]),
    ]


@pytest.fixture(scope="module")
def core(base: Path) -> ContinuousCore:
    """For what is refused, which leaves it as it is."""
    return open_core(base)


def open_core(base: Path, **more: Any) -> ContinuousCore:
    limits = {"threads": 1, "max_running": 8, "kv_cache_gb": 0.01, "context_length": 256} | more
    return open_continuous_core(base, base_folder=None, **limits)


def prompt(length: int, seed: int = 0) -> list[int]:
    draw = random.Random(seed)
    return [draw.randrange(2, 258) for _ in range(length)]


def finish(core: ContinuousCore, tokens: dict[int, list[int]] | None = None) -> dict[int, list[int]]:
    """Step until all has been said; tokens by key."""
    said: dict[int, list[int]] = {} if tokens is None else tokens
    while steps := core.step():
        for step in steps:
            said.setdefault(step.key, []).extend(step.token_ids)
    return said


def test_rows_of_all_adapters_and_the_base_in_one_batch_get_the_tokens_of_peft_alone(base, folders):
    core = open_core(base)
    loaded = [None, *(core.read_adapter(folder, 64) for folder in folders)]
    asked = {key: (key % 4, prompt(length, key)) for key, length in enumerate((30, 1, 45, 20, 33, 7, 50, 2))}
    said: dict[int, list[int]] = {}
    for key, (which, ids) in asked.items():
        core.add_adapted(key, ids, GREEDY, NO_STOP, loaded[which])
        for step in core.step():
            said.setdefault(step.key, []).extend(step.token_ids)
    finish(core, said)
    for key, (which, ids) in asked.items():
        assert said[key] == peft_says(base, [None, *folders][which], ids, 10, 1.1), key
    assert all(lora is None or lora.reached == lora.parts.keys() for lora in loaded)
    assert not any(lora.fault for lora in loaded if lora)


def test_adapters_change_what_is_said(base, folders):
    ids = prompt(40, 5)
    answers = [peft_says(base, folder, ids, 10) for folder in (None, *folders)]
    assert len({tuple(answer) for answer in answers}) == 4


def test_a_prefix_is_shared_within_an_adapter_only(base, folders):
    core, ids = open_core(base), prompt(60)
    first, second = (core.read_adapter(folder, 64) for folder in folders[:2])
    cached: dict[int, int | None] = {}
    for key, adapter in enumerate((first, first, second, None, second, first)):
        core.add_adapted(key, ids, GREEDY, NO_STOP, adapter)
        said: list[int] = []
        while steps := core.step():
            said += [token for step in steps for token in step.token_ids]
            cached |= {step.key: step.cached_tokens for step in steps if step.cached_tokens is not None}
        folder = {id(first): folders[0], id(second): folders[1]}.get(id(adapter))
        assert said == peft_says(base, folder, ids, 10, 1.1)
    assert {key: bool(count) for key, count in cached.items()} == {
        0: False, 1: True, 2: False, 3: False, 4: True, 5: True,
    }  # fmt: skip


def test_nothing_is_kept_of_a_dropped_adapter(base, folders):
    core = open_core(base)
    adapter = core.read_adapter(folders[0], 64)
    core.add_adapted(1, prompt(60), GREEDY, NO_STOP, adapter)
    finish(core)
    memory = core._model._memory
    assert [row.adapter for row in memory._kept] == [adapter]
    adapter.dropped = True
    core.add(2, prompt(60), GREEDY, NO_STOP)
    finish(core)
    assert [row.adapter for row in memory._kept] == [None]


def test_rows_that_cannot_share_a_forward_have_adapters_too(tmp_path):
    import torch
    from transformers import BloomConfig, BloomForCausalLM

    torch.manual_seed(0)
    config = BloomConfig(vocab_size=200, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.3)
    BloomForCausalLM(config).save_pretrained(tmp_path / "bloom")
    folder = write_adapter(tmp_path / "adapter", tmp_path / "bloom", targets=["query_key_value", "dense_h_to_4h"])
    core = core_of_model(BloomForCausalLM.from_pretrained(tmp_path / "bloom").eval(), 4, 0.01, 256)
    assert isinstance(core._model, SingleModel)
    adapter = core.read_adapter(folder, 64)
    ids = [token % 200 for token in prompt(20)]
    core.add_adapted(1, ids, GREEDY, NO_STOP, adapter)
    core.add(2, ids, GREEDY, NO_STOP)
    said = finish(core)
    assert said == {
        1: peft_says(tmp_path / "bloom", folder, ids, 10, 1.1),
        2: peft_says(tmp_path / "bloom", None, ids, 10, 1.1),
    }
    assert said[1] != said[2]


def spoil(folder: Path, copy: Path, config: dict[str, Any] | None = None, tensors: Any = None) -> Path:
    """A copy of an adapter with other settings, or with other tensors."""
    from safetensors.torch import load_file, save_file

    copy.mkdir()
    found = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    (copy / "adapter_config.json").write_text(json.dumps(found | (config or {})), encoding="utf-8")
    weights = load_file(folder / "adapter_model.safetensors")
    save_file(tensors(weights) if tensors else weights, copy / "adapter_model.safetensors")
    return copy


def without_first(weights: dict[str, Any]) -> dict[str, Any]:
    first = sorted(weights)[0].removesuffix("lora_A.weight")
    return {name: tensor for name, tensor in weights.items() if not name.startswith(first)}


@pytest.mark.parametrize(
    ("config", "tensors", "message"),
    [
        ({"peft_type": "IA3"}, None, "describes no LoRA adapter"),
        ({"use_dora": True}, None, "sets use_dora, which is not served beside other adapters"),
        ({"modules_to_save": ["lm_head"]}, None, "sets modules_to_save"),
        ({"bias": "all"}, None, "sets bias"),
        ({"init_lora_weights": "pissa"}, None, "sets init_lora_weights=pissa"),
        ({"a_setting_of_next_year": 1}, None, "sets a_setting_of_next_year"),
        ({"alpha_pattern": {"q_proj": "x"}}, None, "alpha_pattern that holds other things than numbers"),
        ({"rank_pattern": {"(": 2}}, None, "which is no pattern"),
        ({"r": 65}, None, "has rank 65; MAX_LORA_RANK is 64"),
        ({"r": 0}, None, "has rank 0"),
        ({"r": 5}, None, "with rank 5 the served model needs"),
        ({}, lambda w: {}, "holds no weights"),
        ({}, lambda w: w | {"base_model.model.lm_head.bias": next(iter(w.values())).clone()}, "is no low-rank part"),
        ({}, lambda w: {k: v * float("nan") for k, v in w.items()}, "that are no numbers"),
        ({}, lambda w: {k.replace("layers.1", "layers.9"): v for k, v in w.items()}, "is no linear layer of the"),
        ({}, without_first, "lacks 1 of its modules"),
    ],
)
def test_an_adapter_that_would_not_be_applied_whole_is_refused(core, folders, tmp_path, config, tensors, message):
    folder = spoil(folders[0], tmp_path / "spoilt", config, tensors)
    with pytest.raises(ModelError, match=message):
        core.read_adapter(folder, 64)


def test_a_smaller_model_is_another_one(folders, tmp_path):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=258, hidden_size=16, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=256,
    )  # fmt: skip
    core = core_of_model(LlamaForCausalLM(config).eval(), 4, 0.01, 256)
    with pytest.raises(ModelError, match="was trained on another one"):
        core.read_adapter(folders[0], 64)
