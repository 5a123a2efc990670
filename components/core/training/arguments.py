"""The recipe's values as transformers' Trainer wants them."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from components.core.recipe import TrainingConfig
from components.core.training.hardware import Hardware

if TYPE_CHECKING:
    from transformers import TrainingArguments


def build_arguments(
    training: TrainingConfig,
    hardware: Hardware,
    checkpoints: Path,
    steps: int,
    checkpointing: bool,
    evaluates: bool,
    routed: bool = False,
) -> "TrainingArguments":
    """Arguments of a Trainer for which the whole run is one epoch of `steps` optimizer steps.

    `routed` is a mixture of experts, whose rows do not all use the same weights.
    """
    from transformers import TrainingArguments

    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        use_cpu=hardware.device == "cpu",
        bf16=hardware.precision == "bf16",
        fp16=hardware.precision == "fp16",
        per_device_train_batch_size=1,  # a batch of the plan
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        num_train_epochs=1,
        max_steps=steps,
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.lr_scheduler_type,
        warmup_steps=training.warmup_steps,
        # one kernel for all weights
        optim="adamw_torch_fused" if training.optim == "adamw_torch" else training.optim,
        weight_decay=training.weight_decay,
        adam_beta1=training.adam_beta1,
        adam_beta2=training.adam_beta2,
        adam_epsilon=training.adam_epsilon,
        max_grad_norm=training.max_grad_norm,
        activation_checkpointing=checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False} if checkpointing else None,
        eval_strategy="steps" if evaluates else "no",
        eval_steps=_steps(training.eval_steps, steps),
        save_steps=_steps(training.save_steps, steps),
        logging_steps=training.logging_steps,
        logging_nan_inf_filter=False,
        seed=training.seed,
        full_determinism=training.enable_full_determinism,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        # decoders keep no running statistics; only a router may leave some weights out of a step
        ddp_broadcast_buffers=False,
        ddp_find_unused_parameters=routed,
        dataloader_pin_memory=hardware.device == "cuda",
        disable_tqdm=True,
        report_to="none",
    )
    if arguments.n_gpu > 1:
        # else the Trainer splits every batch over all GPUs with DataParallel
        arguments._n_gpu = 1
    return arguments


def _steps(every: float, steps: int) -> int:
    """Steps between two events; below 1 a fraction of all steps."""
    return max(1, math.ceil(every * steps)) if every < 1 else round(every)
