"""What is known of one run of the task catalogue: read from what preprocess, finetune and evaluate left."""

from pathlib import Path
from typing import Any

from components.core.errors import StorageError
from components.core.recipe import ModelConfig, RegistryConfig
from components.core.registry.access import Access
from components.core.registry.facts import (
    DATASET_INFO_FILE,
    EVALUATION_FILE,
    TRAINING_INFO_FILE,
    DatasetFacts,
    HeadFacts,
    Judged,
    Read,
    RunFacts,
    TrainingFacts,
    check_same_dataset,
)
from components.core.registry.json_files import read_json, read_model
from components.core.registry.names import public_name, registered_name, without_paths
from components.core.settings import Settings

HEAD_FILE = "head.json"
HEAD_TASKS = ("single_label", "multi_label", "regression", "ner")
PREPROCESS_ARGS_FILE = "preprocess_args.json"
FINETUNE_ARGS_FILE = "finetune_args.json"
TRAIN_AGAIN = "Run the fine-tuning again."
_PREPROCESS_AGAIN = "Run preprocess again."


class _BaseModel(Read):
    """The model that was fine-tuned."""

    id: str
    revision: str
    weights_sha256: str


class _Source(Read):
    """Where the rows came from."""

    id: str
    revision: str = ""
    license: str = ""


class _PreprocessArgs(Read):
    """What is used of preprocess_args.json."""

    task: str
    catalogue_task: str
    parameters: dict[str, Any]
    model: _BaseModel
    dataset: _Source


class _HeadTraining(TrainingFacts):
    """What a head's training_info.json says beside."""

    task: str
    method: str = "lora"


def head_name(model_dir: Path) -> str:
    """The registered name of a fine-tuned model: `registered_model_name`, else base model and task.

    Raises:
        StorageError: If the folder is not what a fine-tuning wrote.
    """
    finetune = read_json(model_dir / FINETUNE_ARGS_FILE, TRAIN_AGAIN)
    training = read_model(model_dir / TRAINING_INFO_FILE, _HeadTraining, TRAIN_AGAIN)
    name = finetune.get("parameters", {}).get("registered_model_name")
    task = str(finetune.get("catalogue_task", training.task))
    return registered_name(RegistryConfig(name=name or None), ModelConfig(model_id=training.base_model_id), task)


def read_head_facts(
    model_dir: Path, evaluation_dir: Path, preprocess_dir: Path, registry: RegistryConfig, settings: Settings
) -> RunFacts:
    """Gather what is known of a run of the catalogue; `recipe` holds the parameters of preprocess and finetune.

    Raises:
        StorageError: If a file of the run is missing or broken, or two of them are of different runs.
    """
    preprocessed = read_model(preprocess_dir / PREPROCESS_ARGS_FILE, _PreprocessArgs, _PREPROCESS_AGAIN)
    judged = read_model(evaluation_dir / EVALUATION_FILE, Judged, "Run the evaluation again.")
    dataset = read_model(preprocess_dir / DATASET_INFO_FILE, DatasetFacts, _PREPROCESS_AGAIN)
    training = read_model(model_dir / TRAINING_INFO_FILE, _HeadTraining, TRAIN_AGAIN)
    head = read_model(model_dir / HEAD_FILE, HeadFacts, TRAIN_AGAIN)
    check_same_dataset(judged, evaluation_dir, dataset, preprocess_dir)
    if not head.task == training.task == preprocessed.task:
        raise StorageError(
            f"{model_dir} is a model for {head.task}, trained for {training.task}, but {preprocess_dir} was prepared "
            f"for {preprocessed.task}. Name the folders of one run."
        )
    base, source = preprocessed.model, preprocessed.dataset
    finetune = read_json(model_dir / FINETUNE_ARGS_FILE, TRAIN_AGAIN)
    recipe = {"preprocess": preprocessed.parameters, "finetune": finetune.get("parameters", finetune)}
    return RunFacts(
        name=registered_name(registry, ModelConfig(model_id=base.id), preprocessed.catalogue_task),
        task=head.task,
        method=training.method,
        base_model_id=public_name(base.id),
        dataset_id=public_name(source.id),
        dataset=dataset.model_copy(
            update={"revision": dataset.revision or source.revision, "license": dataset.license or source.license}
        ),
        training=training.model_copy(
            update={"base_model_revision": base.revision, "base_weights_sha256": base.weights_sha256}
        ),
        recipe=without_paths(recipe),
        judged=judged,
        max_length=head.max_seq_length,
        access=Access(restricted=registry.restricted, namespace=settings.namespace),
        head=head,
    )
