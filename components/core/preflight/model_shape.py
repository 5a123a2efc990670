"""The shape of a base model from its config.json and the headers of its weights."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from components.core.errors import StorageError
from components.core.recipe import ModelConfig
from components.core.registry.base_model import read_model_config, resolve_config
from components.core.registry.tensors import Tensor, read_tensors
from components.core.settings import Settings
from components.core.training.estimate import LayerSizes, ModelShape, Precision

_STORED: dict[str, Precision] = {"BF16": "bf16", "F16": "fp16"}
_EMBEDDINGS = ("embed", "wte.", "wpe.")


def read_shape(model: ModelConfig, settings: Settings) -> ModelShape:
    """Look at a base model without its weights: two small files of a folder, or of the Hub.

    Raises:
        StorageError: If they cannot be found or read, or do not describe a decoder.
    """
    base = resolve_config(model, settings)
    return model_shape(read_model_config(base.path), read_tensors(model, base, settings), model.model_id)


def model_shape(config: Mapping[str, Any], tensors: Mapping[str, Tensor], model_id: str) -> ModelShape:
    """The shape that a config and the weights' headers describe.

    Raises:
        StorageError: If the config does not say how many layers there are, or how wide.
    """
    text = {**config, **(config.get("text_config") or {})}
    sizes = _sizes(text, model_id)
    # the dtype of most weights: a few norms may be wider
    dtypes: Counter[str] = Counter()
    for tensor in tensors.values():
        dtypes[tensor.dtype] += math.prod(tensor.shape)
    linear = tuple(
        (name.removesuffix(".weight"), tensor.shape[1], tensor.shape[0])
        for name, tensor in tensors.items()
        if _is_linear(name, tensor)
    )
    experts = int(text.get("num_local_experts") or text.get("num_experts") or text.get("n_routed_experts") or 1)
    idle = sum(math.prod(tensor.shape) for name, tensor in tensors.items() if ".experts." in name)
    parameters = sum(math.prod(tensor.shape) for tensor in tensors.values())
    embeddings = sum(math.prod(t.shape) for name, t in tensors.items() if any(word in name for word in _EMBEDDINGS))
    if not any("lm_head" in name for name in tensors):
        embeddings = 0  # tied: the same weights are the output layer, which works
    unused = embeddings + idle * (experts - min(sizes.active_experts, experts)) // experts
    return ModelShape(
        sizes=sizes,
        vocabulary=int(text.get("vocab_size") or 0),
        positions=_first(text, "max_position_embeddings", "n_positions", "max_seq_len", "seq_length"),
        parameters=parameters,
        active_parameters=parameters - unused,
        stored=_STORED.get(dtypes.most_common(1)[0][0], "fp32") if dtypes else "fp32",
        linear=linear,
    )


def _sizes(text: Mapping[str, Any], model_id: str) -> LayerSizes:
    hidden, layers = _first(text, "hidden_size", "n_embd", "d_model"), _first(text, "num_hidden_layers", "n_layer")
    if not hidden or not layers:
        raise StorageError(
            f"config.json of {model_id} does not say how wide and deep the model is (hidden_size, num_hidden_layers). "
            "Choose a causal language model."
        )
    heads = _first(text, "num_attention_heads", "n_head") or 1
    return LayerSizes(
        hidden=hidden,
        intermediate=_first(text, "intermediate_size", "n_inner", "ffn_dim") or 4 * hidden,
        layers=layers,
        key_value=(_first(text, "num_key_value_heads") or heads) * (_first(text, "head_dim") or hidden // heads),
        active_experts=_first(text, "num_experts_per_tok") or 1,
    )


def _first(text: Mapping[str, Any], *names: str) -> int | None:
    return next((int(text[name]) for name in names if isinstance(text.get(name), int) and text[name] > 0), None)


def _is_linear(name: str, tensor: Tensor) -> bool:
    """Whether it is a linear layer inside the decoder: neither an embedding nor the output layer."""
    inside = not any(word in name for word in ("lm_head", *_EMBEDDINGS))
    return inside and name.endswith(".weight") and len(tensor.shape) == 2
