"""Reads a LoRA adapter in peft's format for a model that is loaded, and refuses what would not be applied whole."""

import json
import math
import re
from pathlib import Path
from typing import Any

from llm_endpoint.engines.continuous.lora import Lora, LowRank
from llm_endpoint.errors import ModelError

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
_KEY = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")
_READ = ("peft_type", "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "target_modules")
_FOR_TRAINING = (
    *("task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode"),
    *("lora_dropout", "exclude_modules", "layers_to_transform", "layers_pattern", "fan_in_fan_out", "bias"),
    *("init_lora_weights", "megatron_config", "megatron_core", "loftq_config", "eva_config", "runtime_config"),
    *("qalora_group_size", "ensure_weight_tying"),
)
"""Of peft's settings those that change nothing in the products, or only which modules have them."""
_INITIAL = (True, False, None, "gaussian", "eva", "orthogonal")
"""Ways to begin that leave the weights of the base as they are."""


def read_lora(folder: Path, shapes: dict[str, tuple[int, int]], largest_rank: int, device: Any) -> Lora:
    """Read an adapter into memory.

    Args:
        folder: Holds adapter_config.json and adapter_model.safetensors.
        shapes: Inputs and outputs of the model's modules, by path.
        largest_rank: Allowed.
        device: Of the model.

    Raises:
        ModelError: If it is no plain LoRA, does not fit the model, or its rank is too large.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config = _read_config(folder / CONFIG_FILE)
    try:
        tensors = load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"cannot read {folder / WEIGHTS_FILE}: {error}. Save the adapter again.") from error
    pairs: dict[str, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        found = _KEY.fullmatch(key)
        if found is None:
            raise ModelError(f"the adapter in {folder} holds {key}, which is no low-rank part of a linear layer.")
        pairs.setdefault(found[1], {})[found[2]] = tensor.float().to(device)
    if not pairs:
        raise ModelError(f"the adapter in {folder} holds no weights. Save it again.")
    parts = {}
    for name, pair in pairs.items():
        try:
            parts[name] = _part(name, pair, config, shapes, largest_rank)
        except ModelError as error:
            raise ModelError(f"the adapter in {folder} {error}") from error
    _check_targets(folder, config, set(parts), set(shapes))
    return Lora(parts, max(len(part.a) for part in parts.values()))


def _part(
    name: str, pair: dict[str, Any], config: dict[str, Any], shapes: dict[str, tuple[int, int]], largest: int
) -> LowRank:
    import torch

    if name not in shapes:
        raise ModelError(f"adapts {name}, which is no linear layer of the served model. It was trained on another one.")
    inputs, outputs = shapes[name]
    rank = int(_of_pattern(config.get("rank_pattern"), name, config["r"]))
    if rank < 1:
        raise ModelError(f"has rank {rank} for {name}. Save it again.")
    if rank > largest:
        raise ModelError(f"has rank {rank}; MAX_LORA_RANK is {largest}. Raise it, or train with a smaller lora.r.")
    a, b = pair.get("A"), pair.get("B")
    if a is None or b is None or tuple(a.shape) != (rank, inputs) or tuple(b.shape) != (outputs, rank):
        found = " and ".join(str(tuple(part.shape)) for part in (a, b) if part is not None)
        raise ModelError(
            f"has {found} for {name}; with rank {rank} the served model needs {(rank, inputs)} and {(outputs, rank)}. "
            "It was trained on another one."
        )
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
        raise ModelError(f"holds weights for {name} that are no numbers. Train it again.")
    alpha = float(_of_pattern(config.get("alpha_pattern"), name, config.get("lora_alpha", rank)))
    return LowRank(a, b, alpha / (math.sqrt(rank) if config.get("use_rslora") else rank))


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({type(error).__name__}). Save the adapter again.") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA" or not isinstance(config.get("r"), int):
        raise ModelError(f"{path} describes no LoRA adapter. Adapters of other kinds are merged into a model first.")
    for name in ("rank_pattern", "alpha_pattern"):
        if not all(isinstance(value, int | float) for value in (config.get(name) or {}).values()):
            raise ModelError(f"{path} has a {name} that holds other things than numbers. Save the adapter again.")
    strange = sorted(name for name, value in config.items() if value and name not in (*_READ, *_FOR_TRAINING))
    if config.get("bias", "none") != "none":
        strange.append("bias")
    if config.get("init_lora_weights") not in _INITIAL:
        strange.append(f"init_lora_weights={config['init_lora_weights']}")
    if strange:
        raise ModelError(
            f"{path} sets {', '.join(strange)}, which is not served beside other adapters. Merge the adapter into its "
            "base (lora.merge_lora_weights=true) and serve that as MODEL."
        )
    return config


def _check_targets(folder: Path, config: dict[str, Any], found: set[str], modules: set[str]) -> None:
    """Raise if a module that was trained has no weights in the file."""
    targets = config.get("target_modules")
    chosen = any(config.get(name) for name in ("exclude_modules", "layers_to_transform", "layers_pattern"))
    if not isinstance(targets, list) or chosen:
        return
    wanted = {name for name in modules if any(name == target or name.endswith(f".{target}") for target in targets)}
    if missing := sorted(wanted - found):
        raise ModelError(f"the adapter in {folder} lacks {len(missing)} of its modules ({missing[0]}). Save it again.")


def _of_pattern(pattern: Any, name: str, default: Any) -> Any:
    """The value for a module, as peft looks it up."""
    for key, value in (pattern or {}).items():
        try:
            if re.match(rf"(.*\.)?({key})$", name):
                return value
        except re.error as error:
            raise ModelError(f"names modules by {key!r}, which is no pattern. Save it again.") from error
    return default
