"""QLoRA: the base weights quantized by bitsandbytes below an adapter that is trained as always."""

from copy import deepcopy
from typing import Any

from components.core.training.hardware import Hardware


def quantized_options(bits: int, hardware: Hardware) -> dict[str, Any]:
    """Options of `from_pretrained` that quantize each linear layer but the output layer while it is read.

    What is not quantized is held in bf16 where that is computed in. Else it is fp32: between layers fp16 overflows with
    models that were made in bf16. Norms need no widening, since transformers computes them in fp32 anyway.

    Args:
        bits: 4 (NormalFloat with quantized constants) or 8 (LLM.int8).
        hardware: Where it is computed, and in what.
    """
    import torch
    from transformers import BitsAndBytesConfig

    computed = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[hardware.precision]
    config = BitsAndBytesConfig(
        load_in_4bit=bits == 4,
        load_in_8bit=bits == 8,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=computed,
    )
    return {
        "quantization_config": config,
        "dtype": torch.bfloat16 if computed == torch.bfloat16 else torch.float32,
        # each process holds all weights, on the GPU that it took when it joined the others
        "device_map": {"": torch.cuda.current_device() if hardware.device == "cuda" else "cpu"},
    }


def is_quantized(model: Any) -> bool:
    """Whether a model's weights were quantized as they were read."""
    return bool(getattr(model, "is_quantized", False))


def merge_into_base(trained: Any, base: Any) -> Any:
    """Merge the adapter of a quantized model into its base as it was before.

    Into the weights as they are on disk, not as they were rounded: what is written holds no trace of quantization.

    Args:
        trained: With the adapter.
        base: The same base model, not quantized, on the CPU; it is changed.

    Returns:
        The base model with the adapter in its weights.
    """
    import peft

    adapted = peft.get_peft_model(base, deepcopy(trained.peft_config["default"]))
    adapter = peft.get_peft_model_state_dict(trained, save_embedding_layers=False)
    peft.set_peft_model_state_dict(adapted, {name: weights.cpu() for name, weights in adapter.items()})
    return adapted.merge_and_unload()
