"""What the steps of a round leave for its end, and the round that is made of it."""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from components.core.errors import StorageError
from components.core.loop.config import LoopConfig
from components.core.loop.deciding import decide
from components.core.loop.history import History, Points, Result, Round, Usage, read_history, write_history
from components.core.loop.report import headline, write_loop_report
from components.core.registry.json_files import read_json

logger = logging.getLogger(__name__)

JUDGED_FILE = "judged.json"
GENERATED_FILE = "generated.json"
ROWS = "rows"
"""The split that rows travel in between the steps of a loop."""
_R = TypeVar("_R", bound=Result)


class Judged(Result):
    """What the judge said of the answers of one model, beside its rows."""

    model: str
    judge: str
    similarity: Points
    precision: Points
    coverage: Points
    qualification: bool
    thresholds: dict[str, float]
    prompts: dict[str, float]
    """Mean of similarity and precision by a key of the prompt."""
    usage: Usage

    def flat_metrics(self) -> dict[str, float]:
        """Numbers for a metrics artifact."""
        found = {"similarity": self.similarity, "precision": self.precision, "good_enough": self.coverage}
        numbers = {name: points.value for name, points in found.items()}
        return numbers | {
            "qualified": float(self.qualification),
            "calls": float(self.usage.calls),
            "usd": self.usage.usd,
        }


class Generated(Result):
    """What was generated in a round."""

    rows: int
    """In this round."""
    total: int
    """In this round and all before."""
    usage: Usage


def prompt_scores(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Mean of all similarity and precision scores by prompt; prompts that were not judged are left out.

    Args:
        rows: As the judge writes them: `instructions`, and a list of scores (or none) in each of `similarity_scores`
            and `precision_scores`.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        pairs = zip(row["similarity_scores"] or (), row["precision_scores"] or (), strict=False)
        key = hashlib.sha256(str(row["instructions"]).encode()).hexdigest()[:16]
        found[key] += [(similar + precise) / 2 for similar, precise in pairs if None not in (similar, precise)]
    return {key: sum(values) / len(values) for key, values in sorted(found.items()) if values}


def write_result(result: Result, path: Path) -> None:
    """Write a step's result as JSON.

    Raises:
        StorageError: If the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}. Free some space.") from error


def read_result(kind: type[_R], path: Path) -> _R:
    """Read a step's result.

    Raises:
        StorageError: If it is missing or broken.
    """
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} is missing or broken ({error}). Run the loop again.") from error


def close_round(
    number: int,
    loop: LoopConfig,
    judged_dir: Path,
    history_dir: Path | None,
    generated_dir: Path | None,
    dataset_dir: Path | None,
    output_dir: Path,
) -> History:
    """Add a round to those before, decide, and write history.json, report.html and report.md.

    Args:
        number: Of the round; 0 is the base model's.
        loop: Budget and patience.
        judged_dir: What the judge left.
        history_dir: Of the round before; None for the base model.
        generated_dir: What was generated in this round; None for the base model.
        dataset_dir: The prepared rows that the model was trained on; None for the base model.
        output_dir: Where all three go.

    Raises:
        StorageError: If a file of the round is missing, or the output cannot be written.
    """
    judged = read_result(Judged, judged_dir / JUDGED_FILE)
    generated = read_result(Generated, generated_dir / GENERATED_FILE) if generated_dir else None
    latest = Round(
        number=number,
        model=judged.model if number == 0 else f"trained{judged.model[judged.model.rfind('@') :]}",
        similarity=judged.similarity,
        precision=judged.precision,
        coverage=judged.coverage,
        qualification=judged.qualification,
        prompts=judged.prompts,
        train_rows=_train_rows(dataset_dir) if dataset_dir else 0,
        synthetic_rows=generated.total if generated else 0,
        judging=judged.usage,
        generating=generated.usage if generated else Usage(),
    )
    earlier = read_history(history_dir).rounds if history_dir else ()
    history = decide(earlier, latest, loop, judged.thresholds, judged.judge)
    write_history(history, output_dir)
    write_loop_report(history, loop.confidence, output_dir)
    logger.info("Round %d of %d: score %.1f. %s", number, loop.max_rounds, history.last.score, headline(history))
    return history


def rows_left(loop: LoopConfig, history: History) -> int:
    """Rows that may still be generated; -1 where there is no limit."""
    return -1 if loop.max_synthetic_rows is None else max(0, loop.max_synthetic_rows - history.last.synthetic_rows)


def _train_rows(dataset_dir: Path) -> int:
    info = read_json(dataset_dir / "dataset_info.json", "Run the loop again.")
    rows = info.get("rows")
    return int(rows.get("train", 0)) if isinstance(rows, dict) else 0
