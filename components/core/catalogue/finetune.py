"""Parameters of finetune_<task>: groups that all tasks share, and what a task has otherwise."""

from typing import Literal

from components.core.catalogue.values import (
    AllOr,
    Bits,
    Count,
    Fraction,
    Memory,
    NotNegative,
    OptionalText,
    Parameters,
    Positive,
    Seed,
    Share,
    Stage,
    Whole,
)

LabelMetric = Literal["loss", "f1_macro", "mcc", "accuracy", "precision_macro", "recall_macro"]


class LoraParameters(Parameters):
    """The low-rank adapter."""

    apply_lora: bool = False
    """Train an adapter; false trains all weights."""
    merge_lora_weights: bool = True
    """True writes a stand-alone model, false an adapter that loads on its base."""
    lora_alpha: Count = 128
    """Scale: the update is multiplied by lora_alpha / lora_r."""
    lora_r: Count = 8
    """Rank."""
    lora_dropout: Share = 0.0
    """Dropout on the adapter's input."""


class TrainingParameters(Parameters):
    """The optimisation."""

    num_train_epochs: Positive = 1
    """Passes over the training rows."""
    max_steps: AllOr = -1
    """Stop after this many optimizer steps; -1 trains for all epochs."""
    per_device_train_batch_size: Count = 1
    """Rows of a training batch on one device."""
    per_device_eval_batch_size: Count = 1
    """Rows of an evaluation batch on one device."""
    auto_find_batch_size: bool = False
    """Lower the batch size until it fits into memory."""
    optim: Literal["adamw_torch", "adafactor"] = "adamw_torch"
    """Optimizer."""
    learning_rate: float = 2e-5
    """Peak learning rate, above 0, reached after warm-up."""
    warmup_steps: Whole = 0
    """Optimizer steps of warm-up."""
    weight_decay: NotNegative = 0.0
    """Decoupled weight decay."""
    adam_beta1: Fraction = 0.9
    """Decay of the first moment."""
    adam_beta2: Fraction = 0.999
    """Decay of the second moment."""
    adam_epsilon: Positive = 1e-8
    """Added to the denominator of the update."""
    gradient_accumulation_steps: Count = 1
    """Batches per optimizer step."""
    eval_accumulation_steps: AllOr = -1
    """Evaluation batches whose outputs stay on the device before they move to memory; -1 keeps all."""
    lr_scheduler_type: Literal[
        "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup"
    ] = "linear"
    """Shape of the learning rate after warm-up."""
    precision: Bits = 32
    """32; 16 is bf16 where the hardware has it, else fp16 (fp32 on a CPU without bf16); 8 and 4 are QLoRA on CUDA."""
    seed: Seed = 42
    """Seed of initialisation and order."""
    enable_full_determinism: bool = False
    """Use deterministic kernels only; slower."""
    dataloader_num_workers: Whole = 0
    """Processes that read rows; 0 reads them in the training process."""
    ignore_mismatched_sizes: bool = True
    """Start a head of another shape than the base model's afresh; false refuses such a model."""
    max_grad_norm: Positive = 1.0
    """Gradients are scaled down to this norm."""


class EvaluationParameters(Parameters):
    """Evaluation, logging and checkpoints."""

    evaluation_strategy: Literal["epoch", "steps", "disable"] = "epoch"
    """Evaluate, and write a checkpoint, after each epoch or every so many steps."""
    evaluation_steps_interval: Fraction = 0.0
    """Evaluate after this fraction of an epoch; above 0 it overrides `eval_steps`."""
    eval_steps: Count = 500
    """Optimizer steps between evaluations, with evaluation_strategy=steps."""
    logging_strategy: Literal["steps", "epoch"] = "steps"
    """When a point of the loss curve is written."""
    logging_steps: Count = 10
    """Optimizer steps between points of the loss curve, with logging_strategy=steps."""
    metric_for_best_model: str = "loss"
    """Validation metric that picks the checkpoint that is kept."""
    resume_from_checkpoint: bool = False
    """Go on from the last complete checkpoint."""
    save_total_limit: AllOr = -1
    """Checkpoints that are kept, the best one always; -1 keeps every one."""
    apply_early_stopping: bool = False
    """Stop when the metric no longer gets better."""
    early_stopping_patience: Count = 1
    """Evaluations without a gain before training stops."""
    early_stopping_threshold: NotNegative = 0.0
    """Smallest difference that counts as a gain."""


class OptimisationParameters(Parameters):
    """DeepSpeed and ONNX Runtime."""

    apply_deepspeed: bool = False
    """Train with DeepSpeed; false leaves its other parameters unused."""
    deepspeed: OptionalText = None
    """DeepSpeed configuration, a JSON file; none takes the one for `deepspeed_stage` that comes with the product."""
    deepspeed_stage: Stage = 2
    """ZeRO stage of that configuration."""
    apply_ort: bool = False
    """Export the trained model to ONNX Runtime, which then measures, predicts and serves it."""
    ort_quantization: Literal["none", "int8"] = "none"
    """int8 adds weights of 8 bits to the export, which count only if they pass the gate for them."""


class ResourceParameters(Parameters):
    """Machines, and the name of the result."""

    num_nodes_finetune: Count = 1
    """Machines that train together."""
    number_of_gpu_to_use_finetuning: Whole = 1
    """GPUs of each machine; 0 trains on the CPU."""
    shm_size_finetune: Memory = "5g"
    """Size of /dev/shm."""
    registered_model_name: OptionalText = None
    """Name of the registered model: letters, digits and hyphens; none derives it from model and task."""


class FinetuneParameters(
    ResourceParameters, OptimisationParameters, EvaluationParameters, TrainingParameters, LoraParameters
):
    """What all tasks share."""


class CatalogueFinetune(FinetuneParameters):
    """The four tasks of the catalogue always evaluate."""

    evaluation_strategy: Literal["epoch", "steps"] = "epoch"
    """Evaluate, and write a checkpoint, after each epoch or every so many steps."""


class SingleLabelFinetune(CatalogueFinetune):
    """finetune_classification_single_label."""

    metric_for_best_model: LabelMetric = "loss"
    """Validation metric that picks the checkpoint that is kept."""


class MultiLabelFinetune(CatalogueFinetune):
    """finetune_classification_multi_label."""

    per_device_train_batch_size: Count = 32
    """Rows of a training batch on one device."""
    per_device_eval_batch_size: Count = 32
    """Rows of an evaluation batch on one device."""
    num_train_epochs: Positive = 3
    """Passes over the training rows."""
    learning_rate: float = 5e-5
    """Peak learning rate, above 0, reached after warm-up."""
    precision: Bits = 16
    """32; 16 is bf16 where the hardware has it, else fp16 (fp32 on a CPU without bf16); 8 and 4 are QLoRA on CUDA."""
    metric_for_best_model: LabelMetric = "loss"
    """Validation metric that picks the checkpoint that is kept."""
    primary_metric: Literal["accuracy", "f1_micro", "f1_macro", "f1_samples"] = "accuracy"
    """Metric that reports lead with; `accuracy` asks for the exact set of labels."""


class RegressionFinetune(CatalogueFinetune):
    """finetune_regression."""

    metric_for_best_model: Literal["loss", "mae", "rmse", "r2", "pearson", "spearman"] = "loss"
    """Validation metric that picks the checkpoint that is kept."""


class NERFinetune(CatalogueFinetune):
    """finetune_ner."""

    metric_for_best_model: Literal["loss", "f1", "accuracy", "precision", "recall"] = "loss"
    """Validation metric that picks the checkpoint that is kept."""


class ChatCompletionFinetune(FinetuneParameters):
    """finetune_chat_completion."""

    ignore_mismatched_sizes: bool = False
    """Start a head of another shape than the base model's afresh; false refuses such a model."""
    metric_for_best_model: Literal["loss", "f1", "exact"] = "loss"
    """Validation metric that picks the checkpoint that is kept."""


FINETUNE: dict[str, type[FinetuneParameters]] = {
    "classification_single_label": SingleLabelFinetune,
    "classification_multi_label": MultiLabelFinetune,
    "regression": RegressionFinetune,
    "ner": NERFinetune,
    "chat_completion": ChatCompletionFinetune,
}
"""Parameters by the catalogue's task name."""
