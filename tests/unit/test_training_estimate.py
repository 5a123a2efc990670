"""The estimate of activations against what autograd really keeps."""

import pytest

from components.core.training.estimate import (
    LayerSizes,
    activation_bytes_per_token,
    checkpointed_bytes_per_token,
)
from components.core.training.hardware import layer_sizes

TOKENS = 400


def kept_bytes(config, precision, adapters):
    """Bytes that the decoder's layers save for the backward pass, weights and their copies left out."""
    import peft
    import torch
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM(config)
    if adapters:
        model = model.bfloat16() if precision == "bf16" else model
        model = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules="all-linear"))
    decoder = model.base_model.model.model if adapters else model.model
    own = {weights.untyped_storage().data_ptr() for weights in model.parameters()}
    shapes = {tuple(weights.shape) for weights in model.parameters()}
    shapes |= {shape[::-1] for shape in shapes}
    kept, alive = {}, []

    def keep(tensor):
        storage = tensor.untyped_storage()
        # autocast's copies of the weights are another part of the estimate
        if storage.data_ptr() not in own and tuple(tensor.shape) not in shapes:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"),
    ):
        decoder(input_ids=torch.zeros((1, TOKENS), dtype=torch.long), use_cache=False)
    return sum(kept.values())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("adapters", [False, True])
@pytest.mark.parametrize(("wide", "key_value_heads"), [(344, 4), (512, 1)])
def test_activations_are_what_autograd_keeps(precision, adapters, wide, key_value_heads):
    from transformers import LlamaConfig

    config = LlamaConfig(
        vocab_size=64, hidden_size=128, intermediate_size=wide, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=key_value_heads,
    )  # fmt: skip
    of_layers = activation_bytes_per_token(layer_sizes(config), precision, adapters) * 4 // 5
    assert of_layers * TOKENS == pytest.approx(kept_bytes(config, precision, adapters), rel=0.12)


@pytest.mark.parametrize("adapters", [False, True])
def test_checkpointing_takes_a_fraction(adapters):
    sizes = LayerSizes(4096, 11008, 32, 4096)
    assert (
        checkpointed_bytes_per_token(sizes, "bf16", adapters) < activation_bytes_per_token(sizes, "bf16", adapters) / 6
    )
