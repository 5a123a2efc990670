"""Parameters of finetune_chat_completion as keys of a recipe: the same settings under the names of two worlds."""

from collections.abc import Mapping
from typing import Any

ONCE = 0.999999
"""Fraction of all steps after which the last one is: a single evaluation, at the end."""
KEEP_ALL = 1_000_000
"""Checkpoints that are kept where a parameter sets no limit (-1)."""

PARAMETER_KEYS: dict[str, str | None] = {
    "apply_lora": "training.method",
    "merge_lora_weights": "lora.merge_lora_weights",
    "lora_alpha": "lora.alpha",
    "lora_r": "lora.r",
    "lora_dropout": "lora.dropout",
    "num_train_epochs": "training.num_train_epochs",
    "max_steps": "training.max_steps",
    "per_device_train_batch_size": "training.per_device_train_batch_size",
    "per_device_eval_batch_size": None,
    "auto_find_batch_size": None,
    "optim": "training.optim",
    "learning_rate": "training.learning_rate",
    "warmup_steps": "training.warmup_steps",
    "weight_decay": "training.weight_decay",
    "adam_beta1": "training.adam_beta1",
    "adam_beta2": "training.adam_beta2",
    "adam_epsilon": "training.adam_epsilon",
    "gradient_accumulation_steps": "training.gradient_accumulation_steps",
    "eval_accumulation_steps": None,
    "lr_scheduler_type": "training.lr_scheduler_type",
    "precision": "training.precision",
    "seed": "training.seed",
    "enable_full_determinism": "training.enable_full_determinism",
    "dataloader_num_workers": None,
    "ignore_mismatched_sizes": None,
    "max_grad_norm": "training.max_grad_norm",
    "evaluation_strategy": "training.eval_steps",
    "evaluation_steps_interval": "training.eval_steps",
    "eval_steps": "training.eval_steps",
    "logging_strategy": None,
    "logging_steps": "training.logging_steps",
    "metric_for_best_model": None,
    "resume_from_checkpoint": None,
    "save_total_limit": "training.save_total_limit",
    "apply_early_stopping": None,
    "early_stopping_patience": None,
    "early_stopping_threshold": None,
    "apply_deepspeed": "training.apply_deepspeed",
    "deepspeed": "training.deepspeed",
    "deepspeed_stage": "training.deepspeed_stage",
    "apply_ort": None,
    "ort_quantization": None,
    "num_nodes_finetune": "gpu.num_nodes",
    "number_of_gpu_to_use_finetuning": "gpu.count",
    "shm_size_finetune": "gpu.shm_size",
    "registered_model_name": "registry.name",
}
"""Each parameter with its recipe key; None where a recipe has no such key."""
_EVALUATION = ("evaluation_strategy", "evaluation_steps_interval", "eval_steps")


def sections_of(parameters: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Parameters as sections of a recipe; those that a recipe does not have are left out.

    Args:
        parameters: By name, each with a value of its type; the ones that are not given leave their key alone.
    """
    sections: dict[str, dict[str, Any]] = {}
    for name, value in parameters.items():
        key = PARAMETER_KEYS[name]
        if key and name not in _EVALUATION:
            section, _, field = key.partition(".")
            sections.setdefault(section, {})[field] = _value(name, value)
    rows = sections.get("training", {}).get("per_device_train_batch_size")
    if rows:
        # a recipe's batch is divided among the GPUs, a parameter's is that of each
        devices = max(1, parameters.get("number_of_gpu_to_use_finetuning", 1)) * parameters.get("num_nodes_finetune", 1)
        sections["training"]["per_device_train_batch_size"] = rows * devices
    if set(_EVALUATION) & set(parameters):
        every = _evaluation(parameters)
        sections.setdefault("training", {}).update(eval_steps=every, save_steps=every)
    return sections


def _value(name: str, value: Any) -> Any:
    if name == "apply_lora":
        return "lora" if value else "full"
    if name == "precision":
        return str(value)
    if name == "save_total_limit":
        return KEEP_ALL if value == -1 else value
    if name == "shm_size_finetune" and str(value)[-1:] in ("k", "m", "g", "t"):
        return f"{str(value)[:-1]}{str(value)[-1].upper()}i"
    return value


def _evaluation(parameters: Mapping[str, Any]) -> float:
    """Steps between two evaluations, below 1 a fraction of all steps."""
    strategy = parameters.get("evaluation_strategy", "epoch")
    epochs = float(parameters.get("num_train_epochs", 1))
    if strategy == "disable":
        return ONCE
    if strategy == "epoch":
        return min(1 / epochs, ONCE)
    interval = float(parameters.get("evaluation_steps_interval", 0))
    return min(interval / epochs, ONCE) if interval > 0 else int(parameters.get("eval_steps", 500))
