"""The recipe's values as transformers' Trainer wants them."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.recipe import TrainingConfig
from components.core.recipe.deepspeed import deepspeed_configuration
from components.core.training.distributed.deepspeed import check_agreement, meet_on_cpu
from components.core.training.hardware import Hardware

if TYPE_CHECKING:
    from transformers import TrainingArguments


_SIZES = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
"""What a DeepSpeed configuration says of the batch, which is the recipe's affair: the loop says where a step ends."""


def build_arguments(
    training: TrainingConfig, hardware: Hardware, checkpoints: Path, steps: int, evaluates: bool
) -> "TrainingArguments":
    """Arguments of a Trainer for which the whole run is one epoch of `steps` optimizer steps.

    To be made before the model is read: with ZeRO-3 they say that its weights are parted while they are read.

    Raises:
        ConfigError: If a DeepSpeed configuration contradicts the recipe.
    """
    from transformers import TrainingArguments

    deepspeed = deepspeed_configuration(training)
    configured = deepspeed is not None and hardware.device == "cpu"
    if configured:
        meet_on_cpu()
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        # with use_cpu a DeepSpeed configuration would silently become plain DDP
        use_cpu=hardware.device == "cpu" and deepspeed is None,
        deepspeed=without_sizes(deepspeed) if deepspeed else None,
        accelerator_config={"use_configured_state": True} if configured else None,
        bf16=hardware.precision == "bf16",
        fp16=hardware.precision == "fp16",
        per_device_train_batch_size=1,  # a batch of the plan
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        num_train_epochs=1,
        max_steps=steps,
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.lr_scheduler_type,
        warmup_steps=training.warmup_steps,
        # one kernel for all weights; DeepSpeed lays them end to end itself
        optim="adamw_torch_fused" if training.optim == "adamw_torch" and deepspeed is None else training.optim,
        weight_decay=training.weight_decay,
        adam_beta1=training.adam_beta1,
        adam_beta2=training.adam_beta2,
        adam_epsilon=training.adam_epsilon,
        max_grad_norm=training.max_grad_norm,
        eval_strategy="steps" if evaluates else "no",
        eval_steps=_steps(training.eval_steps, steps),
        save_steps=_steps(training.save_steps, steps),
        logging_steps=training.logging_steps,
        logging_nan_inf_filter=False,
        seed=training.seed,
        full_determinism=training.enable_full_determinism,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        ddp_broadcast_buffers=False,  # decoders keep no running statistics
        dataloader_pin_memory=hardware.device == "cuda",
        disable_tqdm=True,
        report_to="none",
    )
    if arguments.n_gpu > 1:
        # else the Trainer splits every batch over all GPUs with DataParallel
        arguments._n_gpu = 1
    check_agreement(arguments)
    return arguments


def fit_to_model(arguments: "TrainingArguments", model: Any, checkpointing: bool) -> None:
    """Set what depends on the model: whether its activations are computed twice, and whether it has a router."""
    arguments.activation_checkpointing = checkpointing
    arguments.activation_checkpointing_kwargs = {"use_reentrant": False} if checkpointing else None
    # only a mixture of experts, whose rows do not all use the same weights, may leave some of them out of a step
    arguments.ddp_find_unused_parameters = "num_experts_per_tok" in model.config.get_text_config().to_dict()


def without_sizes(configuration: dict[str, Any]) -> dict[str, Any]:
    """A DeepSpeed configuration without what it says of the batch; one batch of the plan is a batch to it."""
    return {key: value for key, value in configuration.items() if key not in _SIZES} | {_SIZES[1]: 1}


def _steps(every: float, steps: int) -> int:
    """Steps between two events; below 1 a fraction of all steps."""
    return max(1, math.ceil(every * steps)) if every < 1 else round(every)
