"""The parameters as transformers' Trainer wants them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.catalogue.amounts import evaluation_steps, unlimited
from components.core.catalogue.finetune import FinetuneParameters
from components.core.recipe import TrainingConfig
from components.core.recipe.deepspeed import deepspeed_configuration
from components.core.training.distributed.deepspeed import check_agreement, meet_on_cpu
from components.core.training.hardware import Hardware, choose_hardware

if TYPE_CHECKING:
    from transformers import TrainingArguments

LOWER_IS_BETTER = ("loss", "mae", "rmse")


def resolve_precision(bits: int, gpus: int = 1, deepspeed: bool = False) -> Hardware:
    """What this machine computes with: fp32 for 32; else bf16 or fp16, or fp32 with a note where it has neither.

    Args:
        bits: `precision`.
        gpus: `number_of_gpu_to_use_finetuning`; 0 leaves the GPUs of this machine alone.
        deepspeed: `apply_deepspeed`; on a CPU it computes in fp32.
    """
    training = TrainingConfig(precision="32" if bits == 32 else "16", apply_deepspeed=deepspeed)
    return choose_hardware(training, cpu=gpus == 0)


def build_arguments(
    parameters: FinetuneParameters, hardware: Hardware, checkpoints: Path, steps_per_epoch: int
) -> "TrainingArguments":
    """Arguments of a Trainer; checkpoints are written when it evaluates, so that the best one can be kept.

    `resume_from_checkpoint` is no part of them: `Trainer.train` takes the checkpoint itself.

    Args:
        parameters: Checked parameters.
        hardware: As `resolve_precision` found it.
        checkpoints: Folder of the checkpoints.
        steps_per_epoch: Optimizer steps of one epoch.
    """
    from transformers import TrainingArguments

    deepspeed = deepspeed_configuration(parameters)
    configured = deepspeed is not None and hardware.device == "cpu"
    if configured:
        meet_on_cpu()
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        # with use_cpu a DeepSpeed configuration would silently become plain DDP
        use_cpu=hardware.device == "cpu" and deepspeed is None,
        bf16=hardware.precision == "bf16",
        fp16=hardware.precision == "fp16",
        deepspeed=deepspeed,
        accelerator_config={"use_configured_state": True} if configured else None,
        dataloader_pin_memory=hardware.device == "cuda",
        dataloader_num_workers=parameters.dataloader_num_workers,
        seed=parameters.seed,
        full_determinism=parameters.enable_full_determinism,
        logging_strategy=parameters.logging_strategy,
        logging_steps=parameters.logging_steps,
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to="none",
        **_optimisation(parameters),
        **_evaluation(parameters, steps_per_epoch),
    )
    check_agreement(arguments)
    return arguments


def _optimisation(parameters: FinetuneParameters) -> dict[str, Any]:
    names = (
        "num_train_epochs", "max_steps", "per_device_train_batch_size", "per_device_eval_batch_size",
        "auto_find_batch_size", "optim", "learning_rate", "lr_scheduler_type", "warmup_steps", "weight_decay",
        "adam_beta1", "adam_beta2", "adam_epsilon", "gradient_accumulation_steps", "max_grad_norm",
    )  # fmt: skip
    return {name: getattr(parameters, name) for name in names}


def _evaluation(parameters: FinetuneParameters, steps_per_epoch: int) -> dict[str, Any]:
    common = {
        "eval_accumulation_steps": unlimited(parameters.eval_accumulation_steps),
        "save_total_limit": unlimited(parameters.save_total_limit),
    }
    if parameters.evaluation_strategy == "disable":
        return common | {"eval_strategy": "no", "save_strategy": "epoch"}
    steps = evaluation_steps(parameters, steps_per_epoch)
    return common | {
        "eval_strategy": parameters.evaluation_strategy,
        "save_strategy": parameters.evaluation_strategy,
        "eval_steps": steps,
        "save_steps": steps,
        "load_best_model_at_end": True,
        "metric_for_best_model": parameters.metric_for_best_model,
        "greater_is_better": parameters.metric_for_best_model not in LOWER_IS_BETTER,
    }
