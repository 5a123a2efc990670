"""One fine-tuning, from token ids to a model folder, by as many processes as there are GPUs."""

from pathlib import Path

from components.core.recipe import LoraConfig, ModelConfig, TaskConfig, TrainingConfig
from components.core.settings import Settings
from components.core.tasks import read_prompt
from components.core.training.distributed.launch import train_here
from components.core.training.distributed.sync import Ranks
from components.core.training.distributed.trainjob import train_on_nodes
from components.core.training.hardware import processes_here
from components.core.training.job import Job, read_inputs
from components.core.training.process import train
from components.core.training.result import TrainingResult


def finetune(
    task: TaskConfig,
    model: ModelConfig,
    training: TrainingConfig,
    lora: LoraConfig,
    tokens_dir: Path,
    output_dir: Path,
    settings: Settings,
) -> TrainingResult:
    """Fine-tune a base model on tokenized rows and write the model folder.

    Args:
        task: Recorded with the model.
        model: The base model.
        training: The optimisation; it means the same however many processes share the work.
        lora: The adapter, if `training.method` is `lora`.
        tokens_dir: Holds train.arrow, validation.arrow, tokens_info.json and prompt.json.
        output_dir: Gets weights, configs, tokenizer, prompt.json, training_log.jsonl and, last, training_info.json.
        settings: Where checkpoints and the base model are kept.

    Raises:
        TrainingError: If there is nothing to train on, the loss diverges, memory runs out, a process dies, or SIGTERM
            asked to stop.
        StorageError: If something cannot be read or written.
        ConfigError: If several nodes are asked for, and the cluster cannot give them.
    """
    job = Job(
        task=task, model=model, training=training, lora=lora, tokens_dir=tokens_dir.resolve(),
        output_dir=output_dir.resolve(),
    )  # fmt: skip
    if settings.training_nodes:
        return train_on_nodes(job, settings, settings.training_nodes)
    processes = settings.training_processes or processes_here()
    if processes == 1 and not training.apply_deepspeed:
        return train(job, settings, Ranks())
    # what is wrong with the input is told before any process is started
    read_prompt(tokens_dir)
    read_inputs(tokens_dir)
    return train_here(job, settings, processes)
