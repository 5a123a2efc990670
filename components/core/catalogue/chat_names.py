"""Names of a chat-completion fine-tuning: of its run, its experiment, its data."""

from datetime import UTC, datetime
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from components.core.catalogue.finetune import FinetuneParameters
from components.core.recipe.deepspeed import zero_stage

_SPLIT_WORDS = ("train", "training", "test", "validation", "valid", "dev", "data")


def display_name(model: str, dataset: str, parameters: FinetuneParameters, max_seq_length: int = -1) -> str:
    """What a run is called: everything that is varied between runs.

    `<model>-<dataset>-bs<rows of a step>-<scheduler>-ds<stage>|nods-lora|nolora-save_limit<n>-seqlen<n>`, where rows of
    a step are batch x accumulation x GPUs x nodes; a CPU counts as one GPU.

    Args:
        model: Short name.
        dataset: One word, for example `ultrachat`.
        parameters: The effective ones.
        max_seq_length: -1 is the model's maximum.
    """
    rows = (
        parameters.per_device_train_batch_size
        * parameters.gradient_accumulation_steps
        * max(1, parameters.number_of_gpu_to_use_finetuning)
        * parameters.num_nodes_finetune
    )
    parts = (
        model,
        dataset,
        f"bs{rows}",
        parameters.lr_scheduler_type,
        f"ds{zero_stage(parameters)}" if parameters.apply_deepspeed else "nods",
        "lora" if parameters.apply_lora else "nolora",
        f"save_limit{parameters.save_total_limit}",
        f"seqlen{max_seq_length}",
    )
    return "-".join(parts)


def dataset_word(train_file: str) -> str:
    """One word for the training rows: `ultrachat` for its files, else the file's name, or its folder's for `train`."""
    return "ultrachat" if "ultrachat" in train_file.lower() else dataset_stem(train_file)


def dataset_stem(train_file: str) -> str:
    """Name of the training rows: the file's, or its folder's for `train...`, without endings: `ultrachat_200k`."""
    path = PurePosixPath((urlsplit(train_file).path if "://" in train_file else train_file).replace("\\", "/"))
    stem = path.name.partition(".")[0]
    word = path.parent.name if stem.partition("_")[0] in _SPLIT_WORDS and path.parent.name else stem
    return word.removesuffix("_dataset") or "data"


def experiment_name(model: str) -> str:
    """The experiment that all runs of a model belong to."""
    return f"chat_completion_{model}"


def timestamp(now: datetime | None = None) -> str:
    """A time in UTC for names that must not repeat, to the second: `20250131093000`."""
    return f"{now or datetime.now(UTC):%Y%m%d%H%M%S}"
