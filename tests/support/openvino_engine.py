"""Convert, load and run a tiny model with OpenVINO."""

import random
from pathlib import Path
from typing import Any

from llm_endpoint.engines.openvino.convert import Job, convert
from llm_endpoint.engines.openvino.core import GenAiCore, load_core
from llm_endpoint.engines.openvino.opening import open_openvino_core
from llm_endpoint.engines.openvino.process import OpenVinoCore
from llm_endpoint.engines.seam import Sampling
from llm_endpoint.engines.torch_model import load_torch_model

CONTEXT = 256
VOCABULARY = 258
NO_STOP: frozenset[int] = frozenset()


def some_prompts(count: int, seed: int = 0) -> list[list[int]]:
    generator = random.Random(seed)
    return [[generator.randrange(VOCABULARY) for _ in range(generator.randrange(1, 120))] for _ in range(count)]


def open_core(folder: Path, cache: Path, **changes: Any) -> OpenVinoCore:
    arguments: dict[str, Any] = {
        "base_folder": None, "cache": cache, "precision": "fp32", "threads": 1,
        "max_running": 8, "kv_cache_gb": 0.1, "context_length": CONTEXT,
    }  # fmt: skip
    return open_openvino_core(folder, **{**arguments, **changes})


def convert_here(folder: Path, cache: Path, name: str = "name", **changes: Any) -> tuple[Path, dict[str, Any]]:
    """Convert in this process, where torch is there already."""
    arguments: dict[str, Any] = {
        "base_folder": None, "precision": "fp32", "threads": 1, "kv_cache_gb": 0.1,
        "context_length": CONTEXT, "prompts": ((5, 6, 7),),
    }  # fmt: skip
    return convert(Job(folder=str(folder), cache=str(cache), name=name, **{**arguments, **changes}))


def load_here(converted: Path, record: dict[str, Any], kv_cache_gb: float = 0.1, max_running: int = 8) -> GenAiCore:
    return load_core(
        converted, precision=record["precision"], token_bytes=record["token_bytes"], threads=1,
        max_running=max_running, kv_cache_gb=kv_cache_gb, context_length=CONTEXT,
    )  # fmt: skip


def finish(core: Any, keys: set[int]) -> tuple[dict[int, list[int]], dict[int, str]]:
    tokens: dict[int, list[int]] = {key: [] for key in keys}
    reasons: dict[int, str] = {}
    while len(reasons) < len(keys):
        for step in core.step():
            assert step.key not in reasons
            tokens[step.key] += step.token_ids
            if step.finish_reason:
                reasons[step.key] = step.finish_reason
    return tokens, reasons


def answer(core: Any, prompts: list[list[int]], sampling: Sampling, stop_ids: frozenset[int] = NO_STOP) -> Any:
    for key, prompt in enumerate(prompts):
        core.add(key, prompt, sampling, stop_ids)
    tokens, reasons = finish(core, set(range(len(prompts))))
    return [tokens[key] for key in range(len(prompts))], [reasons[key] for key in range(len(prompts))]


def transformers_tokens(folder: Path, prompt: list[int], penalty: float, new_tokens: int) -> list[int]:
    import torch
    from transformers import GenerationConfig

    model = load_torch_model(folder)
    model.generation_config = GenerationConfig()
    settings = GenerationConfig(
        do_sample=False, max_new_tokens=new_tokens, repetition_penalty=penalty, eos_token_id=None, pad_token_id=0
    )
    mask = torch.ones(1, len(prompt), dtype=torch.long)
    output = model.generate(torch.tensor([prompt]), attention_mask=mask, generation_config=settings)
    return list(output[0, len(prompt) :].tolist())
