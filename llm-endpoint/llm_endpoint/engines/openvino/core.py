"""A model core over OpenVINO GenAI's continuous batching: paged keys and values, reused prefixes, chunked prefill."""

import itertools
import logging
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_endpoint.engines.seam import CoreStep, FinishReason, Sampling
from llm_endpoint.errors import GenerationError, ModelError

logger = logging.getLogger(__name__)

BLOCK_TOKENS = 32
"""Tokens per block of keys and values; fixed by GenAI on CPUs."""
STEP_TOKENS = 256
"""Tokens that one step processes at most: a long prompt is read in pieces, so that running answers go on meanwhile."""

INT8_GROUP = 32
"""Activations that share one scale."""


@dataclass(frozen=True)
class KvCache:
    """Room for keys and values."""

    blocks: int
    context_length: int
    """The one that was asked for, or as many tokens as fit into the room."""


def plan_kv_cache(token_bytes: int, kv_cache_gb: float, max_running: int, context_length: int) -> KvCache:
    """Decide how much room keys and values get.

    A small model gets twice what its requests can fill at once, half of it for reused prefixes, and not the whole
    budget: GenAI fills all that it may have before it overwrites the oldest, which would look like a leak.

    Args:
        token_bytes: Bytes of keys and values of one token, all layers together.
        kv_cache_gb: The budget in GiB.
        max_running: Requests at once.
        context_length: Tokens of one request, prompt and answer together.

    Raises:
        ModelError: If the budget does not hold a single block.
    """
    budget = int(kv_cache_gb * 2**30) // (token_bytes * BLOCK_TOKENS)
    if budget < 2:
        raise ModelError(f"KV_CACHE_GB={kv_cache_gb} does not hold {2 * BLOCK_TOKENS} tokens of this model. Raise it.")
    request = -(-context_length // BLOCK_TOKENS) + 1  # one more: the block that the next token would open
    if budget < request:
        fitting = (budget - 1) * BLOCK_TOKENS
        logger.warning("KV_CACHE_GB=%s holds %d of the model's %d tokens", kv_cache_gb, fitting, context_length)
        return KvCache(budget, fitting)
    return KvCache(min(budget, 2 * max_running * request), context_length)


@dataclass(slots=True)
class _Request:
    input_ids: Any
    config: Any
    stop_ids: frozenset[int]
    handle: Any = None


class GenAiCore:
    """Answers many requests at once with one converted model; see `seam.Core`.

    `step` computes without releasing Python's interpreter lock (GenAI's binding holds it): others wait meanwhile, so a
    server runs this in a process of its own (`process.OpenVinoCore`).
    """

    name = "openvino"

    def __init__(self, pipeline: Any, *, precision: str, context_length: int, max_running: int) -> None:
        self.precision = precision
        self.context_length = context_length
        self.max_running = max_running
        self._pipeline = pipeline
        self._requests: dict[int, _Request] = {}
        self._numbers = itertools.count()
        """GenAI's own request ids: a caller's key may come again while GenAI still holds the cancelled one."""
        self._freeing = False
        """Cancelled requests hold their memory until the end of the next step."""

    def add(self, key: int, prompt_ids: Sequence[int], sampling: Sampling, stop_ids: frozenset[int]) -> None:
        """Take a request; see `seam.Core`."""
        import numpy as np
        from openvino import Tensor

        input_ids = Tensor(np.asarray(prompt_ids, dtype=np.int64)[None])
        request = _Request(input_ids, _generation_config(sampling, stop_ids), stop_ids)
        self._submit(request)
        self._requests[key] = request

    def step(self) -> list[CoreStep]:
        """Advance every request; see `seam.Core`.

        Raises:
            GenerationError: If the engine fails or has no room left for keys and values.
        """
        if not self._requests:
            return []
        freeing, self._freeing = self._freeing, False
        self._advance()
        steps = []
        for key, request in self._requests.items():
            if not request.handle.can_read():  # nothing yet while its prompt is read in pieces
                continue
            step = _read(key, request)
            if step is not None:
                steps.append(step)
            elif freeing:  # it found no room, but only because cancelled ones were still in it
                self._submit(request)
            else:
                raise GenerationError("the engine has no room for keys and values. Raise KV_CACHE_GB.")
        for step in steps:
            if step.finish_reason is not None:
                del self._requests[step.key]
        return steps

    def cancel(self, key: int) -> None:
        """Forget a request and free its memory; see `seam.Core`."""
        request = self._requests.pop(key, None)
        if request is None:
            return
        request.handle.cancel()
        if self._requests:
            self._freeing = True
        else:
            self._advance()  # frees; no other step would come

    def close(self) -> None:
        """Free the model."""
        self._requests.clear()
        self._pipeline = None

    def _advance(self) -> None:
        try:
            self._pipeline.step()
        except RuntimeError as error:
            raise GenerationError(f"the engine failed: {last_line(error)}") from error

    def _submit(self, request: _Request) -> None:
        try:
            request.handle = self._pipeline.add_request(next(self._numbers), request.input_ids, request.config)
        except RuntimeError as error:
            raise GenerationError(f"the engine refused the request: {last_line(error)}") from error


def load_core(
    folder: Path,
    *,
    precision: str,
    token_bytes: int,
    threads: int,
    max_running: int,
    kv_cache_gb: float,
    context_length: int,
) -> GenAiCore:
    """Load a converted model.

    Args:
        folder: Holds openvino_model.xml and .bin; nothing else in it is read.
        precision: Of the weights: fp32 or int8.
        token_bytes: Bytes of keys and values of one token.
        threads: CPU threads.
        max_running: Requests at once.
        kv_cache_gb: GiB of keys and values.
        context_length: Tokens of one request, prompt and answer together.

    Raises:
        ModelError: If OpenVINO cannot load it.
    """
    import openvino_genai

    room = plan_kv_cache(token_bytes, kv_cache_gb, max_running, context_length)
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.num_kv_blocks = room.blocks
    scheduler.max_num_seqs = max_running
    scheduler.max_num_batched_tokens = max(STEP_TOKENS, max_running)
    scheduler.dynamic_split_fuse = True
    scheduler.enable_prefix_caching = True
    properties = {
        # OpenVINO computes in bf16 and keeps keys and values in u8 where it can; the tokens would not be transformers'
        "INFERENCE_PRECISION_HINT": "f32",
        "KV_CACHE_PRECISION": "f32",
        # int8 weights: activations in int8, too, which doubles the speed of a batch
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": INT8_GROUP if precision == "int8" else 0,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # two processes on one machine would share a core and leave another idle
        "sampler_num_threads": threads,
    }
    try:
        # the folder has no tokenizer: token ids go in and come out
        pipeline = openvino_genai.ContinuousBatchingPipeline(folder, scheduler, "CPU", properties)
    except RuntimeError as error:
        raise ModelError(f"OpenVINO cannot load the converted model: {last_line(error)}") from error
    return GenAiCore(pipeline, precision=precision, context_length=room.context_length, max_running=max_running)


def usable_cores() -> int:
    """Cores that this process may use: its affinity, and the CPU limit of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # no such limit; "max" is none, too
        return cores


def _generation_config(sampling: Sampling, stop_ids: frozenset[int]) -> Any:
    from openvino_genai import GenerationConfig

    config = GenerationConfig()
    config.max_new_tokens = sampling.max_new_tokens
    config.repetition_penalty = sampling.repetition_penalty
    # without a valid end token GenAI looks for the tokenizer's, finds -1 and refuses it
    config.stop_token_ids = set(stop_ids) or {0}
    config.eos_token_id = min(config.stop_token_ids)
    config.ignore_eos = not stop_ids
    if sampling.do_sample:
        config.do_sample = True
        config.temperature = sampling.temperature
        config.top_p = sampling.top_p
        if sampling.top_k:
            config.top_k = sampling.top_k
        config.rng_seed = secrets.randbits(32) if sampling.seed is None else sampling.seed % 2**32
    return config


def _read(key: int, request: _Request) -> CoreStep | None:
    """Take what a request has produced; None when GenAI gave it up for want of room."""
    from openvino_genai import GenerationFinishReason, GenerationStatus

    token_ids: list[int] = []
    reason = None
    while request.handle.can_read():
        for output in request.handle.read().values():
            token_ids += output.generated_ids
            reason = output.finish_reason
    status = request.handle.get_status()
    if status == GenerationStatus.RUNNING:
        return CoreStep(key, tuple(token_ids))
    if status != GenerationStatus.FINISHED:
        return None
    finish: FinishReason = "stop" if reason == GenerationFinishReason.STOP else "length"
    if finish == "stop" and token_ids and token_ids[-1] in request.stop_ids:
        token_ids.pop()
    return CoreStep(key, tuple(token_ids), finish)


def last_line(error: Exception) -> str:
    """What an error of OpenVINO says: it is in the last line, below where in its sources it was raised."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
