"""What the rounds of a loop found: the shape of history.json. Scores are points of 100."""

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from components.core.errors import StorageError

HISTORY_FILE = "history.json"

Decision = Literal["continue", "passed", "plateau", "budget"]


class Result(BaseModel):
    """Base of all results: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Points(Result):
    """A mean score in points of 100, and its interval."""

    value: float
    low: float
    high: float


class Gain(Points):
    """A paired difference of two rounds, later minus earlier, on the prompts that both were judged on."""

    prompts: int
    changed: int
    """Prompts whose score differs."""
    against: int
    """The earlier round: the best one before."""
    shown: bool
    """Whether chance and `loop.min_gain` are ruled out."""


class Usage(Result):
    """What a service LLM was asked, and what it cost."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            calls=self.calls + other.calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            usd=self.usd + other.usd,
        )


class Round(Result):
    """One model and what the judge said of it; round 0 is the base model."""

    number: int
    model: str
    """Name and revision of what answered."""
    similarity: Points
    precision: Points
    coverage: Points
    """Share of the prompts whose answers are good enough, in points."""
    qualification: bool
    """The judge's word: both scores lie above their thresholds, intervals and all."""
    prompts: dict[str, float]
    """Mean of similarity and precision by a key of the prompt, where it was judged."""
    train_rows: int = 0
    """Rows that the model was trained on."""
    synthetic_rows: int = 0
    """Generated rows among them."""
    judging: Usage = Usage()
    generating: Usage = Usage()
    gain: Gain | None = None
    """Over the best round before; None where there is none, or no prompt was judged in both."""

    @property
    def score(self) -> float:
        """Mean of similarity and precision."""
        return (self.similarity.value + self.precision.value) / 2


class History(Result):
    """All rounds so far and what follows from them."""

    rounds: tuple[Round, ...]
    thresholds: dict[str, float]
    """What similarity and precision must reach, in points."""
    judge: str
    """The service LLM that judged."""
    decision: Decision
    reason: str
    """One line that a person understands."""

    @property
    def last(self) -> Round:
        """The round that was judged last."""
        return self.rounds[-1]

    @property
    def best(self) -> Round:
        """The round with the highest score; of equals the first."""
        return max(self.rounds, key=lambda each: each.score)

    def flat_metrics(self) -> dict[str, float]:
        """Numbers of the last round, for a metrics artifact."""
        last, spent = self.last, self.spent
        return {
            "round": float(last.number),
            "score": last.score,
            "similarity": last.similarity.value,
            "precision": last.precision.value,
            "good_enough": last.coverage.value,
            "train_rows": float(last.train_rows),
            "synthetic_rows": float(last.synthetic_rows),
            "calls": float(spent.calls),
            "usd": spent.usd,
        }

    @property
    def spent(self) -> Usage:
        """The service LLM's usage over all rounds."""
        return sum((each.judging + each.generating for each in self.rounds), Usage())


def write_history(history: History, folder: Path) -> None:
    """Write history.json, whole or not at all.

    Raises:
        StorageError: If the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{HISTORY_FILE}.partial"
        partial.write_text(history.model_dump_json(indent=1) + "\n", encoding="utf-8")
        os.replace(partial, folder / HISTORY_FILE)
    except OSError as error:
        raise StorageError(
            f"cannot write {folder / HISTORY_FILE}: {error.strerror or error}. Free some space."
        ) from error


def read_history(folder: Path) -> History:
    """Read history.json of a folder.

    Raises:
        StorageError: If it is missing or no history.
    """
    path = folder / HISTORY_FILE
    try:
        return History.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} is missing or no history of a loop. Run the loop again.") from error
