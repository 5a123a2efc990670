"""What is known of one training run, read from the files that training, evaluation and data preparation left."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from components.core.errors import ConfigError, StorageError
from components.core.recipe import Recipe, RegistryConfig
from components.core.registry.access import Access
from components.core.registry.json_files import read_json as read_json
from components.core.registry.json_files import read_model as read_model
from components.core.registry.names import public_name, registered_name, without_paths
from components.core.settings import Settings

TRAINING_INFO_FILE = "training_info.json"
TRAINING_LOG_FILE = "training_log.jsonl"
EVALUATION_FILE = "evaluation.json"
DATASET_INFO_FILE = "dataset_info.json"
PROMPT_FILE = "prompt.json"


class Read(BaseModel):
    """A file of another room: what is asked for must be there, what else it holds is not our business."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class Score(Read):
    """A score or a difference, 0 to 1, and its interval."""

    value: float
    low: float
    high: float


class ScoredSlice(Read):
    """Scores by model and metric on some of the test rows; differences are tuned minus the model that is the key."""

    rows: int
    scores: dict[str, dict[str, Score]]
    differences: dict[str, dict[str, Score]]


class ForgottenFacts(Read):
    """Loss on the probe rows of one kind, in nats per token."""

    rows: int
    base: Score
    tuned: Score
    increase: Score
    known: bool


class ForgettingFacts(Read):
    """What the tuned model forgot of a fixed probe."""

    probe: str
    fingerprint: str
    kinds: dict[str, ForgottenFacts]


class VerdictFacts(Read):
    """The gate's word."""

    status: str
    outcome: str
    headline: str
    reasons: list[str]
    warnings: list[str] = []


class Judged(Read):
    """What is used of evaluation.json."""

    metrics: list[str]
    gate_metric: str
    confidence: float
    rows: int
    contexts: int = 0
    """Different contexts among the rows; only questions have them."""
    slices: dict[str, ScoredSlice]
    verdict: VerdictFacts
    forgetting: ForgettingFacts | None = None
    qualification: dict[str, Any] | None = None
    """What a service LLM said of the model as its stand-in."""
    notes: list[str] = []
    dataset_fingerprint: str
    repetition_penalty: float = 1.0
    one_line: bool = False
    values: dict[str, dict[str, float | None]] = {}
    """By model, all metrics of a head, those without an interval included; None where not defined."""

    @property
    def everything(self) -> ScoredSlice:
        """The slice of all rows."""
        return self.slices["all"]

    def flat_metrics(self) -> dict[str, float]:
        """All numbers by name: `tuned_f1`, `tuned_f1_low`, `f1_difference_base`, `tuned_f1_has_answer`, ..."""
        flat: dict[str, float] = {"test_rows": float(self.rows)}
        for model, values in self.values.items():
            flat |= {f"{model}_{metric}": value for metric, value in values.items() if value is not None}
        for name, part in self.slices.items():
            suffix = "" if name == "all" else f"_{name}"
            for model, scores in part.scores.items():
                for metric, score in scores.items():
                    flat |= _with_bounds(f"{model}_{metric}{suffix}", score)
            for model, differences in part.differences.items():
                for metric, gap in differences.items():
                    flat |= _with_bounds(f"{metric}_difference_{model}{suffix}", gap)
        for kind, each in (self.forgetting.kinds if self.forgetting else {}).items():
            flat |= {f"base_probe_loss_{kind}": each.base.value, f"tuned_probe_loss_{kind}": each.tuned.value}
            flat |= _with_bounds(f"forgetting_{kind}", each.increase)
        return flat


def _with_bounds(key: str, score: Score) -> dict[str, float]:
    return {key: score.value, f"{key}_low": score.low, f"{key}_high": score.high}


class DatasetFacts(Read):
    """What is used of the dataset's own description."""

    fingerprint: str
    revision: str = ""
    license: str = ""
    rows: dict[str, int] = {}


class TrainingFacts(Read):
    """What is used of training_info.json."""

    run_id: str
    finished: str
    git_commit: str
    base_model_id: str
    base_model_revision: str
    base_weights_sha256: str
    device: str
    precision: str
    steps: int
    train_loss: float
    validation_loss: float | None
    tokens_per_second: float
    peak_memory_bytes: int
    seconds: float
    trainable_parameters: int
    total_parameters: int

    def numbers(self) -> dict[str, float]:
        """What was measured, by name."""
        return {k: float(v) for k, v in self.model_dump().items() if isinstance(v, int | float)}


class HeadFacts(Read):
    """What is used of head.json."""

    task: str
    labels: list[str] = []
    thresholds: list[float] | None = None
    scale: dict[str, float] | None = None
    columns: dict[str, str] = {}
    max_seq_length: int
    pair_joiner: str | None = None

    @property
    def pair(self) -> bool:
        """The model reads two texts together."""
        return "text_pair" in self.columns

    def info(self) -> dict[str, Any]:
        """What model_info.json says of the head: what there is of labels, thresholds and scale."""
        found = {"labels": self.labels, "thresholds": self.thresholds, "scale": self.scale}
        return {name: value for name, value in found.items() if value}


@dataclass(frozen=True)
class RunFacts:
    """One run, fit to be shown: no path of a machine, no secret."""

    name: str
    task: str
    method: str
    base_model_id: str
    dataset_id: str
    dataset: DatasetFacts
    training: TrainingFacts
    recipe: dict[str, dict[str, Any]]
    judged: Judged
    max_length: int
    access: Access
    max_new_tokens: int = 0
    """Longest answer in tokens; 0 for a head, which writes none."""
    head: HeadFacts | None = None
    """What the outputs of a classification or regression head mean."""

    def model_info(self) -> dict[str, Any]:
        """The content of model_info.json."""
        return {
            "format": 1,
            "name": self.name,
            "task": self.task,
            "method": self.method,
            "access": self.access.model_dump(),
            "base_model": {
                "id": self.base_model_id,
                "revision": self.training.base_model_revision,
                "weights_sha256": self.training.base_weights_sha256,
            },
            "dataset": {"id": self.dataset_id, **self.dataset.model_dump()},
            "recipe": self.recipe,
            "metrics": self.judged.flat_metrics(),
            "verdict": self.judged.verdict.model_dump(),
            **({"qualification": self.judged.qualification} if self.judged.qualification else {}),
            **self._reading(),
            "training": {
                "device": self.training.device,
                "precision": self.training.precision,
                **self.training.numbers(),
            },
            "run_id": self.training.run_id,
            "git_commit": self.training.git_commit,
            "created": self.training.finished,
        }

    def _reading(self) -> dict[str, Any]:
        """How what the model says is read: a head's names and numbers, or how an answer was generated."""
        if self.head is not None:
            return self.head.info()
        generation = {"repetition_penalty": self.judged.repetition_penalty, "one_line": self.judged.one_line}
        return {"generation": generation}


def read_facts(
    model_dir: Path,
    evaluation_dir: Path,
    dataset_dir: Path,
    registry: RegistryConfig,
    recipe_sections: dict[str, Any],
    settings: Settings,
) -> RunFacts:
    """Gather what is known of a run.

    Raises:
        StorageError: If a file of the run is missing or broken.
        ConfigError: If the recipe's sections do not fit together.
    """
    try:
        recipe = Recipe.model_validate(recipe_sections)
    except ValidationError as error:
        raise ConfigError(f"the recipe of this run is not valid: {error}. Start a run with a valid one.") from error
    judged = read_model(evaluation_dir / EVALUATION_FILE, Judged, "Run the evaluation again.")
    dataset = read_model(dataset_dir / DATASET_INFO_FILE, DatasetFacts, "Fetch the dataset again.")
    training = read_model(model_dir / TRAINING_INFO_FILE, TrainingFacts, "Run the fine-tuning again.")
    check_same_dataset(judged, evaluation_dir, dataset, dataset_dir)
    sections = recipe.model_dump(mode="json", exclude_none=True)
    return RunFacts(
        name=registered_name(registry, recipe.model, recipe.task),
        task=recipe.task.name,
        method=recipe.training.method,
        base_model_id=public_name(training.base_model_id),
        dataset_id=public_name(recipe.data.dataset_id),
        dataset=dataset,
        training=training,
        recipe={name: without_paths(sections[name]) for name in sections if name in recipe_sections},
        judged=judged,
        max_length=recipe.tokens.max_seq_length,
        access=Access(restricted=registry.restricted, namespace=settings.namespace),
        max_new_tokens=recipe.evaluation.max_new_tokens,
    )


def check_same_dataset(judged: Judged, evaluation_dir: Path, dataset: DatasetFacts, dataset_dir: Path) -> None:
    """Raise unless a model was judged on the dataset that it is published with.

    Raises:
        StorageError: If the fingerprints differ.
    """
    if judged.dataset_fingerprint != dataset.fingerprint:
        raise StorageError(
            f"{evaluation_dir} was measured on dataset {judged.dataset_fingerprint}, but {dataset_dir} is "
            f"{dataset.fingerprint}. Run the evaluation again on this dataset."
        )
