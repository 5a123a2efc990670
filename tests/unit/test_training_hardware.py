"""Choices that follow from the machine."""

import pytest

from components.core.errors import TrainingError
from components.core.recipe import TrainingConfig
from components.core.training import TrainingResult
from components.core.training.estimate import activation_bytes_per_token
from components.core.training.hardware import choose_hardware, fit_into_memory, free_memory, layer_sizes


def test_activations_that_fit_are_not_computed_twice():
    fit = fit_into_memory("auto", "cpu", bytes_per_token=1000, longest_row=512, free_bytes=10**9)
    assert (fit.piece_tokens, fit.gradient_checkpointing) == (1024, False)


def test_little_memory_means_smaller_pieces_first():
    fit = fit_into_memory("auto", "cuda", bytes_per_token=1000, longest_row=512, free_bytes=2_000_000)
    assert (fit.piece_tokens, fit.gradient_checkpointing) == (1200, False)


def test_a_row_that_does_not_fit_turns_checkpointing_on_unless_it_is_off():
    free = 512 * 1000
    assert fit_into_memory("auto", "cuda", 1000, 512, free).gradient_checkpointing
    assert not fit_into_memory("off", "cuda", 1000, 512, free).gradient_checkpointing
    assert fit_into_memory("on", "cuda", 1000, 512, 10**12).gradient_checkpointing


def test_the_longest_row_always_has_a_piece():
    assert fit_into_memory("auto", "cpu", 10**9, 4096, 0).piece_tokens == 4096


def test_the_machine_has_free_memory():
    assert free_memory("cpu") > 0


@pytest.mark.parametrize("adapters", [False, True])
def test_the_estimate_of_activations_is_an_upper_bound_and_not_a_wild_one(adapters):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=64, hidden_size=128, intermediate_size=344, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=4,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    weights = {tensor.untyped_storage().data_ptr() for tensor in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model.model(input_ids=torch.zeros((2, 100), dtype=torch.long))
    estimate = activation_bytes_per_token(layer_sizes(config), "fp32", adapters) * 200
    assert output.last_hidden_state.requires_grad
    assert 0.5 * estimate < sum(kept.values()) < estimate


@pytest.mark.parametrize("precision", ["4", "8"])
def test_quantized_weights_are_refused_without_cuda(monkeypatch, precision):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(TrainingError, match=f"training.precision={precision} .* needs a CUDA GPU.*to `auto`"):
        choose_hardware(TrainingConfig(precision=precision))


@pytest.mark.parametrize(("bf16", "computed"), [(True, "bf16"), (False, "fp16")])
def test_quantized_weights_are_computed_in_what_16_would_be(monkeypatch, bf16, computed):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **_: bf16)
    for precision in ("16", "8", "4"):
        hardware = choose_hardware(TrainingConfig(precision=precision))
        assert (hardware.device, hardware.precision) == ("cuda", computed)


def test_metrics_are_the_numbers_of_a_result():
    result = TrainingResult(10, 0.5, None, 100.0, 1, 2.0, None, 3, 4, "cpu", "fp32", ["a note"], 2, "ddp")
    assert result.metrics() == {
        "steps": 10.0, "train_loss": 0.5, "tokens_per_second": 100.0, "peak_memory_bytes": 1.0, "seconds": 2.0,
        "trainable_parameters": 3.0, "total_parameters": 4.0, "world_size": 2.0,
    }  # fmt: skip
