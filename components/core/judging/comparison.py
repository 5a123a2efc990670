"""Two judged models against each other, on the instructions that both answered: service against local, say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from components.core.errors import DataError
from components.core.evaluation.bootstrap import Estimate, fewest_changes
from components.core.judging.config import Confidence, DatasetId, Score
from components.core.judging.verdict import FEWEST_INSTRUCTIONS, interval, share
from components.core.recipe.section import Section
from components.core.settings import Settings
from components.core.tables import read_rows

Outcome = Literal["better", "worse", "mixed", "no difference"]
METRICS = ("similarity", "precision")


class CompareConfig(Section):
    """Two sets of judged answers, as evaluation.py writes them."""

    eval_ds_id: DatasetId = "evaluation"
    """The local model's judged answers: a folder, a file, a saved dataset or a Hub id."""
    eval_ds_split: DatasetId = "eval"
    """Their split."""
    other_ds_id: DatasetId
    """The other model's judged answers, the service LLM's say."""
    other_ds_split: DatasetId = "eval"
    """Their split."""
    name: DatasetId = "local"
    """What the report calls the first."""
    other_name: DatasetId = "service"
    """What the report calls the second."""
    avg_similarity_threshold: Score = 90.0
    """Similarity from which an answer counts as covered."""
    avg_precision_threshold: Score = 90.0
    """Precision from which an answer counts as covered."""
    confidence: Confidence = 0.99
    """Of the statement that there is a difference, both scores together."""
    bootstrap_samples: Annotated[int, Field(ge=100)] = 2000
    """Resamples of the instructions behind each interval."""
    seed: int = 42
    """Seed of the resampling."""


@dataclass(frozen=True)
class Side:
    """One model on the shared instructions."""

    name: str
    model: str
    similarity: Estimate
    precision: Estimate
    coverage: Estimate
    scores: list[tuple[float, float]]
    """Mean similarity and precision by instruction."""


@dataclass(frozen=True)
class Comparison:
    """The first model against the second."""

    outcome: Outcome
    reason: str
    sides: tuple[Side, Side]
    differences: dict[str, Estimate]
    """First minus second, by score."""
    instructions: int
    """Those that both were judged on."""
    confidence: float


def compare(config: CompareConfig, settings: Settings) -> Comparison:
    """Read both sets of judged answers and compare them.

    Raises:
        DataError: If one lacks scores, or they share too few instructions.
        StorageError: If one cannot be read.
    """
    places = ((config.eval_ds_id, config.eval_ds_split), (config.other_ds_id, config.other_ds_split))
    first, second = (read_rows(dataset_id, split, settings) for dataset_id, split in places)
    return compare_rows(first, second, config)


def compare_rows(
    first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]], config: CompareConfig
) -> Comparison:
    """Compare two sets of judged rows; a score is paired with that of the same instruction."""
    scores = [instruction_scores(rows, name) for rows, name in ((first, config.name), (second, config.other_name))]
    shared = [instruction for instruction in scores[0] if instruction in scores[1]]
    if len(shared) < FEWEST_INSTRUCTIONS:
        raise DataError(
            f"{config.name} and {config.other_name} were both judged on {len(shared)} instructions only, and comparing "
            f"needs {FEWEST_INSTRUCTIONS}. Judge both on the same rows."
        )
    values = [np.asarray([found[instruction] for instruction in shared]) for found in scores]
    # both scores are looked at, so each has half of the error
    error = (1 - config.confidence) / 2
    gaps = values[0] - values[1]
    differences = {
        metric: interval(gaps[:, k : k + 1], error, config.bootstrap_samples, config.seed)
        for k, metric in enumerate(METRICS)
    }
    outcome, reason = _decide(differences, gaps, 1 - error)
    sides = [
        _side(name, rows, each, config)
        for name, rows, each in zip((config.name, config.other_name), (first, second), values, strict=True)
    ]
    return Comparison(outcome, reason, (sides[0], sides[1]), differences, len(shared), config.confidence)


def _decide(differences: Mapping[str, Estimate], gaps: Any, confidence: float) -> tuple[Outcome, str]:
    # a handful of changed rows is never a difference, however narrow the bootstrap's interval
    enough = [int(np.count_nonzero(np.abs(gaps[:, k]) > 1e-9)) >= fewest_changes(confidence) for k in range(2)]
    better = [m for (m, gap), many in zip(differences.items(), enough, strict=True) if many and gap.low > 0]
    worse = [m for (m, gap), many in zip(differences.items(), enough, strict=True) if many and gap.high < 0]
    if better and worse:
        return "mixed", f"better in {better[0]}, worse in {worse[0]}"
    if better or worse:
        return (
            "better" if better else "worse"
        ), f"{'better' if better else 'worse'} in {' and '.join(better or worse)}"
    return "no difference", "both intervals of the difference hold 0"


def instruction_scores(rows: Sequence[Mapping[str, Any]], name: str) -> dict[tuple[str, str], tuple[float, float]]:
    """Mean scores by instruction and target; those without a judgement are left out.

    Raises:
        DataError: Where a row has no scores' columns.
    """
    found: dict[tuple[str, str], list[list[float]]] = {}
    for number, row in enumerate(rows, start=1):
        try:
            key = (str(row["instructions"]), str(row["target_responses"]))
            pairs = [
                [float(s), float(p)] for s, p in zip(row["similarity_scores"], row["precision_scores"], strict=True)
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{name}, row {number} is not judged ({type(error).__name__}). Give rows as evaluation.py writes them."
            ) from error
        found.setdefault(key, []).extend(pairs)
    means = {key: np.mean(pairs, axis=0) for key, pairs in found.items() if pairs}
    return {key: (float(mean[0]), float(mean[1])) for key, mean in means.items()}


def _side(name: str, rows: Sequence[Mapping[str, Any]], scores: Any, config: CompareConfig) -> Side:
    error = 0.05
    means = [interval(scores[:, k : k + 1], error, config.bootstrap_samples, config.seed) for k in range(2)]
    thresholds = np.asarray([config.avg_similarity_threshold, config.avg_precision_threshold])
    covered = int(np.sum(np.all(scores >= thresholds, axis=1)))
    model = str(next((row["model_id"] for row in rows if row.get("model_id")), "unknown"))
    pairs = [(float(similar), float(precise)) for similar, precise in scores]
    return Side(name, model, means[0], means[1], share(covered, len(scores), 1 - error), pairs)
