"""What is known of one training run, read from the files that training, evaluation and data preparation left."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from components.core.errors import ConfigError, StorageError
from components.core.recipe import Recipe, RegistryConfig
from components.core.registry.names import public_name, registered_name, without_paths

TRAINING_INFO_FILE = "training_info.json"
TRAINING_LOG_FILE = "training_log.jsonl"
EVALUATION_FILE = "evaluation.json"
DATASET_INFO_FILE = "dataset_info.json"
PROMPT_FILE = "prompt.json"

_T = TypeVar("_T", bound=BaseModel)


class _Read(BaseModel):
    """A file of another room: what is asked for must be there, what else it holds is not our business."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class Score(_Read):
    """A score or a difference, 0 to 1, and its interval."""

    value: float
    low: float
    high: float


class ScoredSlice(_Read):
    """Scores by model and metric on some of the test rows; differences are tuned minus the model that is the key."""

    rows: int
    scores: dict[str, dict[str, Score]]
    differences: dict[str, dict[str, Score]]


class VerdictFacts(_Read):
    """The gate's word."""

    status: str
    outcome: str
    headline: str
    reasons: list[str]
    warnings: list[str] = []


class Judged(_Read):
    """What is used of evaluation.json."""

    metrics: list[str]
    gate_metric: str
    confidence: float
    rows: int
    contexts: int
    slices: dict[str, ScoredSlice]
    verdict: VerdictFacts
    notes: list[str] = []
    dataset_fingerprint: str
    repetition_penalty: float = 1.0
    one_line: bool = False

    @property
    def everything(self) -> ScoredSlice:
        """The slice of all rows."""
        return self.slices["all"]

    def flat_metrics(self) -> dict[str, float]:
        """All numbers by name: `tuned_f1`, `tuned_f1_low`, `f1_difference_base`, `tuned_f1_has_answer`, ..."""
        flat: dict[str, float] = {"test_rows": float(self.rows)}
        for name, part in self.slices.items():
            suffix = "" if name == "all" else f"_{name}"
            for model, scores in part.scores.items():
                for metric, score in scores.items():
                    flat |= _with_bounds(f"{model}_{metric}{suffix}", score)
            for model, differences in part.differences.items():
                for metric, gap in differences.items():
                    flat |= _with_bounds(f"{metric}_difference_{model}{suffix}", gap)
        return flat


def _with_bounds(key: str, score: Score) -> dict[str, float]:
    return {key: score.value, f"{key}_low": score.low, f"{key}_high": score.high}


class DatasetFacts(_Read):
    """What is used of the dataset's own description."""

    fingerprint: str
    revision: str = ""
    license: str = ""
    rows: dict[str, int] = {}


class TrainingFacts(_Read):
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
    max_new_tokens: int
    max_length: int

    def model_info(self) -> dict[str, Any]:
        """The content of model_info.json."""
        return {
            "format": 1,
            "name": self.name,
            "task": self.task,
            "method": self.method,
            "base_model": {
                "id": self.base_model_id,
                "revision": self.training.base_model_revision,
                "weights_sha256": self.training.base_weights_sha256,
            },
            "dataset": {"id": self.dataset_id, **self.dataset.model_dump()},
            "recipe": self.recipe,
            "metrics": self.judged.flat_metrics(),
            "verdict": self.judged.verdict.model_dump(),
            "generation": {
                "repetition_penalty": self.judged.repetition_penalty,
                "one_line": self.judged.one_line,
            },
            "training": {
                "device": self.training.device,
                "precision": self.training.precision,
                **self.training.numbers(),
            },
            "run_id": self.training.run_id,
            "git_commit": self.training.git_commit,
            "created": self.training.finished,
        }


def read_facts(
    model_dir: Path,
    evaluation_dir: Path,
    dataset_dir: Path,
    registry: RegistryConfig,
    recipe_sections: dict[str, Any],
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
    if judged.dataset_fingerprint != dataset.fingerprint:
        raise StorageError(
            f"{evaluation_dir} was measured on dataset {judged.dataset_fingerprint}, but {dataset_dir} is "
            f"{dataset.fingerprint}. Run the evaluation again on this dataset."
        )
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
        max_new_tokens=recipe.evaluation.max_new_tokens,
        max_length=recipe.tokens.max_seq_length,
    )


def read_model(path: Path, kind: type[_T], remedy: str) -> _T:
    """Read a JSON file into a model.

    Raises:
        StorageError: If it is missing or lacks something.
    """
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors()[:3])
        raise StorageError(f"{path} cannot be used ({problems}). {remedy}") from error
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} is missing or cannot be read. {remedy}") from error


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        StorageError: If the file is missing or is not a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} is missing or is not JSON. {remedy}") from error
    if not isinstance(value, dict):
        raise StorageError(f"{path} is not a JSON object. {remedy}")
    return value


def read_lines(path: Path, remedy: str) -> list[dict[str, Any]]:
    """Read JSON Lines.

    Raises:
        StorageError: If a line is not a JSON object; the message says which.
    """
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            found.append(dict(json.loads(line)))
        except (ValueError, TypeError) as error:
            raise StorageError(f"{path}, line {number} is not a JSON object. {remedy}") from error
    return found
