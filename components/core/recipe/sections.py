"""The typed sections of a recipe: what is trained, and how it is judged.

Each section is one pipeline parameter, so that a step's cache key changes only with its own section.
"""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, field_validator, model_validator

from components.core.recipe.judging import EvaluationConfig, GateConfig
from components.core.recipe.section import Count, FileAddress, Section
from components.core.recipe.training_section import LoraConfig, TrainingConfig

Quantity = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$")]
_NO_SLASH = BeforeValidator(lambda name: name.replace("/", "-") if isinstance(name, str) else name)


_TASK_KEYS = {
    "context_qa": ("prompt_template", "no_answer_text", "chat_template"),
    "chat_completion": ("chat_template", "assistant_turns"),
}


class TaskConfig(Section):
    """What the model learns to do and how a row becomes a prompt."""

    name: Literal["context_qa", "chat_completion", "single_label", "multi_label", "regression", "ner"] = "context_qa"
    """What is learned: `context_qa` answers a question from a context, `chat_completion` continues a conversation."""
    prompt_template: str = "Context: {context}\nQuestion: {question}\nAnswer:"
    """Prompt with the placeholders {context} and {question}; it is saved with the weights and used for serving."""
    no_answer_text: Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)] = "not in the context"
    """What the model says, and is trained to say, when the context holds no answer."""
    chat_template: Literal["auto", "never"] = "auto"
    """`auto` wraps the prompt in the tokenizer's chat template where it has one; `never` uses the plain prompt."""
    assistant_turns: Literal["all", "last"] = "all"
    """`chat_completion`: the assistant turns that carry the loss."""

    @field_validator("prompt_template")
    @classmethod
    def _has_both_placeholders(cls, template: str) -> str:
        missing = [name for name in ("{context}", "{question}") if template.count(name) != 1]
        if missing:
            raise ValueError(f"must hold {' and '.join(missing)} exactly once")
        return template

    @model_validator(mode="after")
    def _has_no_prompt_without_a_question(self) -> Self:
        fields = type(self).model_fields
        # a pipeline parameter holds every key, so only a changed value says that somebody meant it
        changed = [key for key in fields if key != "name" and getattr(self, key) != fields[key].default]
        foreign = [key for key in changed if key not in _TASK_KEYS.get(self.name, ())]
        if foreign:
            what = "no prompt" if self.name not in _TASK_KEYS else f"only the keys {', '.join(_TASK_KEYS[self.name])}"
            raise ValueError(f"{self.name} has {what}, yet {', '.join(foreign)} is set; remove it")
        return self


class ModelConfig(Section):
    """The base model."""

    model_id: Annotated[str, StringConstraints(min_length=1)] = "starter"
    """Hub id (`HuggingFaceTB/SmolLM2-135M-Instruct`), local folder, or `starter` for the embedded model."""
    revision: str | None = None
    """Branch, tag or commit on the Hub; the commit that was really loaded is recorded with the model."""


class DataConfig(Section):
    """Where the rows come from and what the data contract does with bad ones."""

    dataset_id: Annotated[str, StringConstraints(min_length=1)] = "starter"
    """Hub dataset id, local file or folder, http(s) URL, or `starter` for the embedded question set."""
    validation_file: FileAddress | None = None
    """File or http(s) URL with the validation rows, of any format; it takes the place of the dataset's own split."""
    test_file: FileAddress | None = None
    """File or http(s) URL with the test rows, likewise."""
    revision: str | None = None
    """Branch, tag or commit of a Hub dataset; the commit that was really read is recorded."""
    subset: str | None = None
    """Configuration name of a Hub dataset that has several."""
    train_split: str = "train"
    """Name of the split to train on."""
    validation_split: str = "validation"
    """Name of the split that watches training."""
    test_split: str = "test"
    """Name of the split that the gate judges on."""
    columns: dict[str, str] = {}
    """Our column name to the dataset's, for example `{context: passage, question: query}`."""
    seed: int = 42
    """Seed of the shuffle when a missing split is cut from another (only train: 80/10/10; train and another: 80/20)."""
    max_rows: Count | None = None
    """Keep at most this many rows of each split, the first after the shuffle; none keeps all."""
    on_bad_row: Literal["stop", "drop"] = "stop"
    """`stop` ends the run when a row breaks the contract; `drop` leaves those rows out and counts them."""
    on_leakage: Literal["drop", "warn", "stop"] = "drop"
    """What happens to training rows that also stand in validation or test (exact or near copies)."""
    near_duplicate_similarity: Annotated[float, Field(gt=0.5, le=1)] = 0.9
    """Jaccard similarity of word 5-grams from which two rows count as near copies."""
    max_file_bytes: Count = 20 * 2**30
    """Largest unpacked size of one input file, in bytes; a longer one (a gzip bomb, say) is refused."""
    max_row_bytes: Count = 2 * 2**20
    """Largest size of one row, in bytes; a longer one is a bad row."""


class TokensConfig(Section):
    """How rows become token ids."""

    max_seq_length: Annotated[int, Field(ge=8)] = 512
    """Tokens per example, prompt and answer together; lowered to the model's own maximum where that is smaller."""
    on_too_long: Literal["window", "drop"] = "window"
    """`window` cuts the context around the answer so that the row fits; `drop` leaves the row out. Both are counted."""
    packing: bool = True
    """Put several short rows into one sequence; rows never see each other."""


class RegistryConfig(Section):
    """How the model is named where it is kept."""

    name: Annotated[str, _NO_SLASH, StringConstraints(pattern=r"^[a-zA-Z0-9-]+$")] | None = None
    """Registered model name, slashes become hyphens; none derives it from model and task (`starter-context-qa`)."""
    description: str = ""
    """One paragraph for the model card and the registry."""
    license: str = ""
    """Licence of the tuned model for the card; empty takes the base model's where it is known."""
    language: str = "en"
    """Language tag for the card."""
    private: bool = True
    """Create the Hub repository as private."""
    restricted: bool = False
    """Neither listed for nor usable from another namespace; docs/model-folder.md says what that protects."""


class GpuConfig(Section):
    """The accelerator of the fine-tuning and evaluation pods."""

    count: Annotated[int, Field(ge=0)] = 1
    """GPUs of the fine-tuning pod, and of each node where there are several; 0 compiles a CPU run."""
    num_nodes: Count = 1
    """Machines that fine-tune together; above 1 a Kubeflow TrainJob, which needs a ReadWriteMany volume."""
    training_runtime: Annotated[str, StringConstraints(min_length=1)] = "torch-distributed"
    """(Cluster)TrainingRuntime of Kubeflow Trainer that a TrainJob builds on."""
    resource: str = "nvidia.com/gpu"
    """Name of the extended resource; also the key of the toleration."""
    product: str | None = None
    """Value of the node label `nvidia.com/gpu.product` to select, for example `NVIDIA-A100-SXM4-80GB`."""
    shm_size: Quantity = "5Gi"
    """Size of /dev/shm, an in-memory volume."""


class ResourcesConfig(Section):
    """What the pods ask for, and how a run survives one that dies."""

    cpu: Quantity = "2"
    """CPU request of the fine-tuning and evaluation pods; the other steps ask for 1."""
    memory: Quantity = "8Gi"
    """Memory request and limit of the fine-tuning and evaluation pods; the other steps get 4Gi."""
    retries: Annotated[int, Field(ge=0)] = 2
    """Times that a failed step is tried again; fine-tuning goes on from its last complete checkpoint."""
    checkpoint_volume: str | None = "whetstone-checkpoints"
    """PersistentVolumeClaim that holds the checkpoints between tries; none keeps them in the pod only."""


class Recipe(Section):
    """All sections together."""

    task: TaskConfig = TaskConfig()
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    tokens: TokensConfig = TokensConfig()
    training: TrainingConfig = TrainingConfig()
    lora: LoraConfig = LoraConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    gate: GateConfig = GateConfig()
    registry: RegistryConfig = RegistryConfig()
    gpu: GpuConfig = GpuConfig()
    resources: ResourcesConfig = ResourcesConfig()
