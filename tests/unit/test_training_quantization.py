"""The estimate of a quantized model against weights and activations that bitsandbytes really made."""

import pytest
from support.tiny_training import write_base_model

from components.core.preflight.model_shape import read_shape
from components.core.recipe import LoraConfig, ModelConfig, TrainingConfig
from components.core.settings import Settings
from components.core.training.estimate import pass_bytes_per_token, weight_bytes
from components.core.training.hardware import Hardware, layer_sizes
from components.core.training.model import add_adapter, load_base

TOKENS = 400


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A Llama in bf16, large enough for its tables not to matter."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = write_base_model(tmp_path_factory.mktemp("model") / "base")
    config = LlamaConfig(
        vocab_size=64, hidden_size=256, intermediate_size=688, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=4, tie_word_embeddings=False,
    )  # fmt: skip
    LlamaForCausalLM(config).bfloat16().save_pretrained(folder)
    return folder


def quantized(base, bits, computed):
    return load_base(base, TrainingConfig(precision=bits), Hardware("cpu", computed, "padded", "sdpa"))[0]


def held_bytes(model):
    """Bytes of all weights, with the constants that bitsandbytes keeps beside them."""
    total = 0
    for weights in model.parameters():
        total += weights.numel() * weights.element_size()
        state, rows = getattr(weights, "quant_state", None), getattr(weights, "SCB", None)
        parts = [state.absmax, state.code, state.offset, state.state2.absmax, state.state2.code] if state else []
        parts += [] if rows is None else [rows]
        total += sum(part.numel() * part.element_size() for part in parts)
    return total


@pytest.mark.parametrize("bits", ["4", "8"])
@pytest.mark.parametrize("computed", ["bf16", "fp16"])
def test_the_estimate_of_quantized_weights_is_what_is_held(base, bits, computed):
    estimate = weight_bytes(
        read_shape(ModelConfig(model_id=str(base)), Settings()), TrainingConfig(precision=bits), computed
    )
    assert estimate == pytest.approx(held_bytes(quantized(base, bits, computed)), rel=0.005)


@pytest.mark.parametrize("bits", ["4", "8"])
@pytest.mark.parametrize("computed", ["bf16", "fp16"])
def test_the_estimate_of_activations_is_what_is_kept(base, bits, computed):
    import torch

    model = add_adapter(quantized(base, bits, computed), LoraConfig(r=2), ModelConfig(), base)
    own = {weights.untyped_storage().data_ptr() for weights in model.parameters()}
    kept = {}

    def keep(tensor):
        # autocast's copies of the adapter are no activations
        if tensor.untyped_storage().data_ptr() not in own and TOKENS in tensor.shape:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[computed]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", dtype=dtype):
        output = model.model.model(input_ids=torch.zeros((1, TOKENS), dtype=torch.long), use_cache=False)
    kept |= {tensor.untyped_storage().data_ptr(): tensor for tensor in inputs_kept(output.last_hidden_state.grad_fn)}
    bytes_kept = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    training, sizes = TrainingConfig(precision=bits), layer_sizes(model.config)
    # one layer more stands for the backward pass
    estimate = pass_bytes_per_token(sizes, training, computed) * 4 // 5 * TOKENS
    assert estimate == pytest.approx(bytes_kept, rel=0.15)


def inputs_kept(node):
    """What bitsandbytes' functions keep by themselves, past autograd's hooks."""
    import torch

    seen, todo = set(), [node]
    while todo:
        function = todo.pop()
        if function is None or function in seen:
            continue
        seen.add(function)
        for held in (getattr(function, "A", None), *(getattr(function, "tensors", None) or ())):
            if isinstance(held, torch.Tensor) and held.is_floating_point():
                yield held
        todo += [following for following, _ in function.next_functions]
