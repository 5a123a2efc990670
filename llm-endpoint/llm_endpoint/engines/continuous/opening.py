"""Opens the core of a model folder: all rows in one forward where that gives the same logits, else row by row."""

import logging
import sys
from pathlib import Path
from typing import Any

from llm_endpoint.engines.continuous.core import ContinuousCore, RowModel
from llm_endpoint.engines.continuous.memory import MOST_KEPT
from llm_endpoint.engines.continuous.packed import PackedModel
from llm_endpoint.engines.continuous.rows import Row
from llm_endpoint.engines.continuous.single import SingleModel
from llm_endpoint.engines.seam import Sampling
from llm_endpoint.engines.torch_model import load_torch_model
from llm_endpoint.errors import ModelError

logger = logging.getLogger(__name__)

GIB = 2**30
SHORTEST_CONTEXT = 256
"""Tokens; with less memory than this, opening is refused."""


def open_continuous_core(
    folder: Path,
    *,
    base_folder: Path | None,
    threads: int | None,
    max_running: int,
    kv_cache_gb: float,
    context_length: int,
) -> ContinuousCore:
    """Load a causal language model and choose how its rows are run.

    Args:
        folder: Weights, or an adapter.
        base_folder: The adapter's base model.
        threads: CPU threads; None leaves torch's choice.
        max_running: Requests that are generated at once.
        kv_cache_gb: GiB of keys and values. A model that is run row by row keeps caches of its own beyond it.
        context_length: Wanted; the model or the memory may allow less.

    Raises:
        ModelError: If it cannot be loaded, or the memory holds too few tokens.
    """
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    model = load_torch_model(folder, base_folder)
    if torch.cuda.is_available():
        try:
            model = model.to("cuda")
        except RuntimeError as error:
            raise ModelError("the model does not fit into the GPU. Take a larger one, or the vllm overlay.") from error
        logger.info("The model is on the GPU %s", torch.cuda.get_device_name())
    return core_of_model(model, max_running, kv_cache_gb, context_length)


def core_of_model(model: Any, max_running: int, kv_cache_gb: float, context_length: int) -> ContinuousCore:
    """Choose how the rows of a loaded model are run, by holding both ways against the plain model.

    Raises:
        ModelError: If neither gives its logits, or the memory holds too few tokens.
    """
    import torch

    name, config = type(model).__name__, model.config.get_text_config(decoder=True)
    context_length = min(context_length, position_limit(config))
    probe = torch.arange(1, 1 + 2 * min(24, context_length)).view(2, -1) * 7919 % config.vocab_size
    with torch.inference_mode():
        output = model(input_ids=probe.to(model.device), use_cache=True)
    rows: RowModel | None = None
    layers = plain_layers(config, output.get("past_key_values"))
    if layers:
        token_bytes = sum(store.shape[1] * store.shape[3] * 4 for one in layers for store in (one.keys, one.values))
        # more than this is never looked at
        tokens = min(int(kv_cache_gb * GIB / token_bytes), (max_running + MOST_KEPT) * context_length)
        if tokens < min(context_length, SHORTEST_CONTEXT):
            raise ModelError(f"KV_CACHE_GB={kv_cache_gb:g} holds only {tokens} tokens of {name}. Set it higher.")
        if tokens < context_length:
            logger.warning("Context cut from %d to %d tokens: KV_CACHE_GB holds no more", context_length, tokens)
            context_length = tokens
        rows = open_packed(model, layers, tokens, probe.tolist(), output.logits.cpu())
    if rows is None:
        logger.warning("%s is run row by row: its rows cannot share a forward", name)
        rows = SingleModel(model)
        if not agrees(rows, probe.tolist(), output.logits.cpu()):
            raise ModelError(f"{name} gives other logits from its cache than without. It cannot be served this way.")
    return ContinuousCore(rows, max_running, context_length)


def position_limit(config: Any) -> int:
    """Tokens up to which a position means the same in every row.

    Rotary embeddings that stretch with the longest row (dynamic, longrope) are used up to where they start to.
    """
    limit: int = getattr(config, "max_position_embeddings", None) or sys.maxsize
    parameters = getattr(config, "rope_parameters", None) or {}
    for rope in (parameters, *parameters.values()):
        if isinstance(rope, dict) and rope.get("rope_type") in ("dynamic", "longrope"):
            limit = min(limit, rope.get("original_max_position_embeddings") or limit)
    return limit


def plain_layers(config: Any, cache: Any) -> list[Any]:
    """The cache's layers, if all of them hold keys and values of every token or of a sliding window; else none."""
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    layers = list(getattr(cache, "layers", ()))
    plain = all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) and layer.is_initialized for layer in layers)
    return layers if plain and getattr(config, "attention_chunk_size", None) is None else []


def open_packed(model: Any, layers: list[Any], tokens: int, probe: list[list[int]], logits: Any) -> PackedModel | None:
    """Run the rows in one forward, or None where that does not give the logits of the plain model.

    Raises:
        ModelError: If the memory cannot be reserved.
    """
    attention = model.config._attn_implementation
    try:
        packed = PackedModel(model, layers, tokens)
    except RuntimeError as error:
        raise ModelError("the keys and values do not fit into memory. Set KV_CACHE_GB lower.") from error
    try:
        if agrees(packed, probe, logits):
            packed.forget()
            return packed
    except (AttributeError, TypeError, ValueError, KeyError, IndexError, RuntimeError) as error:
        logger.info("Rows in one forward: %s", error)
    model.set_attn_implementation(attention)
    return None


def agrees(rows: RowModel, probe: list[list[int]], logits: Any) -> bool:
    """Read two rows side by side in pieces of different lengths, and hold them against the plain model.

    Args:
        rows: The model under test.
        probe: Tokens of the two rows, both of one length.
        logits: What the plain model gave for them, shape (2, tokens, vocabulary).
    """
    import torch

    length = len(probe[0])
    sampling = Sampling(max_new_tokens=1)
    pair = [
        Row(-1 - turn, ids[: length - 1], length - 1, sampling, frozenset(), None) for turn, ids in enumerate(probe)
    ]
    for row in pair:
        rows.place(row)
    middle = length // 2
    plan = [(middle, 0), (length - 1 - middle, length - 1)] if rows.chunk_tokens else [(length - 1, length - 1)]
    found = [rows.run([(row, count) for row, count in zip(pair, counts, strict=True) if count]) for counts in plan][-1:]
    for row, ids in zip(pair, probe, strict=True):
        row.ids = ids
    found.append(rows.run([(row, 1) for row in reversed(pair)]).flip(0))
    for row in pair:
        rows.release(row)
    return torch.allclose(torch.stack(found, 1), logits[:, -2:], rtol=0, atol=1e-3 * float(logits.abs().max()))
