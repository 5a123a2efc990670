"""The sections of the fine-tuning itself: the optimisation and the adapter."""

import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from components.core.recipe.section import Count, Fraction, Section


def _as_text(value: Any) -> Any:
    # a command line reads `{...}` as a map, and a pipeline parameter writes nothing as ""
    return json.dumps(value) if isinstance(value, dict) else value or None


def _whole_number(value: Any) -> Any:
    # a command line gives text, and a pipeline parameter 2.0
    return int(value) if isinstance(value, str) and value.strip().isdigit() else value


class TrainingConfig(Section):
    """The optimisation."""

    method: Literal["lora", "full"] = "lora"
    """`lora` trains a low-rank adapter, `full` trains all weights."""
    num_train_epochs: Annotated[float, Field(gt=0)] = 3.0
    """Passes over the training rows."""
    max_steps: Annotated[int, Field(ge=-1)] = -1
    """Stop after this many optimizer steps; -1 trains for all epochs."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    """Peak learning rate, reached after warm-up."""
    lr_scheduler_type: Literal[
        "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup"
    ] = "cosine"
    """Shape of the learning rate after warm-up."""
    warmup_steps: Annotated[float, Field(ge=0)] = 0.03
    """Optimizer steps of warm-up; below 1 it is a fraction of all steps."""
    tokens_per_batch: Count = 4096
    """Tokens of one batch, padding not counted; an optimizer step takes `gradient_accumulation_steps` batches."""
    per_device_train_batch_size: Count | None = None
    """Rows in a batch; none fills each batch up to `tokens_per_batch`."""
    gradient_accumulation_steps: Count = 1
    """Batches per optimizer step."""
    optim: Literal["adamw_torch", "adafactor"] = "adamw_torch"
    """Optimizer."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay."""
    adam_beta1: Fraction = 0.9
    """Decay of the first moment."""
    adam_beta2: Fraction = 0.999
    """Decay of the second moment."""
    adam_epsilon: Annotated[float, Field(gt=0)] = 1e-8
    """Added to the denominator of the update."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradients are scaled down to this norm."""
    precision: Literal["auto", "32", "16", "8", "4"] = "auto"
    """`16`: bf16, else fp16 on GPUs and fp32 on CPUs; `auto`: 16 on GPUs; `8`, `4`: QLoRA on GPUs, bits of a weight."""
    gradient_checkpointing: Literal["auto", "on", "off"] = "auto"
    """`auto` recomputes activations only when they would not fit into memory."""
    eval_steps: Annotated[float, Field(gt=0)] = 0.25
    """Optimizer steps between two validation losses; below 1 it is a fraction of all steps."""
    save_steps: Annotated[float, Field(gt=0)] = 0.25
    """Optimizer steps between two checkpoints; below 1 it is a fraction of all steps."""
    save_total_limit: Annotated[int, Field(ge=1)] = 2
    """Complete checkpoints that are kept; the oldest goes first."""
    logging_steps: Count = 10
    """Optimizer steps between two points of the loss curve."""
    seed: int = 42
    """Seed of initialisation and order."""
    enable_full_determinism: bool = False
    """Use deterministic kernels only; slower."""
    apply_deepspeed: bool = False
    """Train with DeepSpeed: each process keeps a share of optimizer and gradients, with ZeRO-3 of the weights, too."""
    deepspeed: Annotated[str | None, BeforeValidator(_as_text)] = None
    """DeepSpeed configuration, a JSON file or its content; none takes the product's own for `deepspeed_stage`."""
    deepspeed_stage: Annotated[Literal[2, 3], BeforeValidator(_whole_number)] = 2
    """ZeRO stage of that configuration."""

    @field_validator("precision", mode="before")
    @classmethod
    def _accepts_a_number(cls, precision: object) -> object:
        # YAML reads `precision: 16` as a number, and a pipeline parameter turns it into 16.0.
        return f"{precision:.0f}" if isinstance(precision, int | float) else precision

    @property
    def quantized_bits(self) -> int | None:
        """Bits of a base weight below the adapter with QLoRA; None where the base is not quantized."""
        return int(self.precision) if self.precision in ("4", "8") else None


class LoraConfig(Section):
    """The low-rank adapter, used when `training.method` is `lora`."""

    r: Count = 16
    """Rank."""
    alpha: Count = 32
    """Scale: the update is multiplied by alpha / r."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout on the adapter's input."""
    target_modules: str | list[str] = "all-linear"
    """Names of the layers that get an adapter; `all-linear` takes every linear layer but the output."""
    merge_lora_weights: bool = True
    """True writes a stand-alone model, false an adapter that loads on its base."""
