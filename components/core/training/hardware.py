"""What this machine can do, and the choices that follow from it."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.core.errors import TrainingError
from components.core.recipe import TrainingConfig
from components.core.training.batches import Layout
from components.core.training.estimate import HOLES, PIECE_TOKENS, Device, LayerSizes, Precision

logger = logging.getLogger(__name__)

_CGROUP = Path("/sys/fs/cgroup")
_SHARE_FOR_ACTIVATIONS = 0.6
"""Part of the free memory that activations may fill; the rest is for what the estimate does not know."""


@dataclass(frozen=True)
class Hardware:
    """Where and how the model is computed."""

    device: Device
    precision: Precision
    layout: Layout
    attention: str
    """Attention implementation, by its name in transformers."""
    notes: list[str] = field(default_factory=list)


def choose_hardware(training: TrainingConfig, cpu: bool = False) -> Hardware:
    """Pick device, precision, row layout and attention; `cpu` takes no GPU even where there is one.

    Raises:
        TrainingError: If quantized weights are asked for and there is no CUDA GPU.
    """
    import torch

    if training.quantized_bits and not torch.cuda.is_available():
        raise TrainingError(
            f"training.precision={training.precision} (QLoRA) needs a CUDA GPU, and there is none here. Run it on a "
            "machine or node with a GPU (gpu.count), or set training.precision to `auto`."
        )
    if cpu or not torch.cuda.is_available():
        precision, notes = _cpu_precision(training.precision)
        if precision == "bf16" and training.apply_deepspeed:
            # the Trainer takes bf16 for a GPU's unless it is told to use the CPU, which turns DeepSpeed off
            precision, notes = "fp32", ["DeepSpeed on a CPU was computed in fp32, not in 16 bits."]
        return Hardware("cpu", precision, "padded", "sdpa", notes)
    from transformers.utils import is_flash_attn_2_available

    half: Precision = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    precision = "fp32" if training.precision == "32" else half
    # flash attention knows where a row of a flat batch ends; without it that takes a dense mask, and padding is cheaper
    flash = precision != "fp32" and is_flash_attn_2_available()
    return Hardware("cuda", precision, "flat" if flash else "padded", "flash_attention_2" if flash else "sdpa")


def processes_here() -> int:
    """Processes that training on this machine takes: one per GPU, or one on a CPU, where threads share the work."""
    import torch

    return max(1, torch.cuda.device_count())


def _cpu_precision(wanted: str) -> tuple[Precision, list[str]]:
    if wanted != "16":
        return "fp32", []
    if cpu_has_bf16():
        return "bf16", []
    return "fp32", ["This CPU has no bf16 instructions, so precision 16 was computed in fp32."]


def cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bf16 numbers in hardware."""
    import torch

    found = torch.cpu.get_capabilities()
    return any(bool(found.get(unit)) for unit in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))


def free_memory(device: str) -> int:
    """Bytes that can still be allocated; in a container the limit of its cgroup counts."""
    if device == "cuda":
        import torch

        return int(torch.cuda.mem_get_info()[0])
    import psutil

    free = int(psutil.virtual_memory().available)
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        # the page cache is counted as used, but gives way
        cached = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())["inactive_file"]
        free = min(free, limit - int((_CGROUP / "memory.current").read_text()) + int(cached))
    except (OSError, ValueError, KeyError):
        logger.debug("No cgroup memory limit")
    return max(free, 0)


def peak_memory(device: str) -> int:
    """Most bytes held so far: resident memory of the process, or allocated memory of the GPU."""
    if device == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated())
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def layer_sizes(config: Any) -> LayerSizes:
    """What the layers of a loaded model measure, by its transformers config."""
    text = config.get_text_config()
    hidden, heads = int(text.hidden_size), int(text.num_attention_heads)
    return LayerSizes(
        hidden=hidden,
        intermediate=int(getattr(text, "intermediate_size", None) or 4 * hidden),
        layers=int(text.num_hidden_layers),
        key_value=(getattr(text, "num_key_value_heads", None) or heads)
        * int(getattr(text, "head_dim", None) or hidden // heads),
        active_experts=int(getattr(text, "num_experts_per_tok", None) or 1),
    )


@dataclass(frozen=True)
class Fit:
    """How much is computed at once."""

    piece_tokens: int
    """Most tokens of one forward pass, padding counted; a longer row is passed on its own."""
    gradient_checkpointing: bool


def fit_into_memory(wanted: str, device: Device, bytes_per_token: int, longest_row: int, free_bytes: int) -> Fit:
    """Choose the size of a forward pass, and whether activations must be computed twice to fit.

    Args:
        wanted: `gradient_checkpointing` of the recipe: auto, on or off.
        device: `cpu` or `cuda`.
        bytes_per_token: Of activations.
        longest_row: Tokens of the longest row, the least that must fit.
        free_bytes: What is left beside weights, gradients and optimizer.
    """
    budget = max(free_bytes, 0) * _SHARE_FOR_ACTIVATIONS / HOLES[device]
    checkpointing = wanted == "on" or (wanted == "auto" and longest_row * bytes_per_token > budget)
    # a checkpointed layer keeps its input only, far below a tenth of all it computes
    tokens = int(budget / max(bytes_per_token // 10 if checkpointing else bytes_per_token, 1))
    return Fit(max(longest_row, min(PIECE_TOKENS[device], tokens)), checkpointing)
