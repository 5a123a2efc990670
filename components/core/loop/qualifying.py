"""The end of a loop: whether its last model may stand in for the service LLM, written into its evaluation."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from components.core.errors import StorageError
from components.core.evaluation.results import (
    EVALUATION_FILE,
    Evaluation,
    Qualification,
    Score,
    Verdict,
    read_evaluation,
)
from components.core.loop.history import History, Points
from components.core.loop.report import headline


@dataclass(frozen=True)
class Outcome:
    """How a loop ended; plain values, so that it travels between steps as JSON."""

    decision: str
    qualified: bool
    """Judge and gate both let the model stand in."""
    headline: str
    rounds: int
    trained: bool
    """False where the base model was judged and nothing was trained."""


def qualify(history: History, evaluation_dir: Path | None, output_dir: Path) -> Outcome:
    """Put the judge's word into the verdict of the model that was judged last.

    Args:
        history: All rounds.
        evaluation_dir: What the comparison of the last model with its base wrote; None where nothing was trained.
        output_dir: Gets a copy of it, with the verdict of both.

    Raises:
        StorageError: If the evaluation cannot be read, or the copy not be written.
    """
    passed = history.decision == "passed"
    if evaluation_dir is None:
        output_dir.mkdir(parents=True, exist_ok=True)
        return Outcome(history.decision, passed, headline(history), len(history.rounds), trained=False)
    evaluation = read_evaluation(evaluation_dir)
    verdict = _verdict(history, evaluation.verdict)
    judged = evaluation.model_copy(update={"verdict": verdict, "qualification": _qualification(history)})
    _copy(evaluation_dir, judged, output_dir)
    said = headline(history) if not passed or verdict.passed else verdict.headline
    return Outcome(history.decision, verdict.passed, said, len(history.rounds), trained=True)


def _verdict(history: History, gate: Verdict) -> Verdict:
    """The gate's, unless the judge refuses: then a refusal, whatever the gate says."""
    said = f"by the judgement of {history.judge or 'the service LLM'}, {history.reason}"
    if history.decision == "passed":
        # what decided stays first: a refusal of the gate, or that both let it pass
        reasons = [*gate.reasons, said]
        name = f"PASSED: {said}; {gate.reasons[0]}" if gate.passed else gate.headline
        return gate.model_copy(update={"reasons": reasons, "headline": name})
    return Verdict(
        status="refused",
        outcome="below minimum",
        headline=f"REFUSED: {said}",
        reasons=[said, *(gate.reasons if not gate.passed else ())],
        warnings=gate.warnings,
    )


def _qualification(history: History) -> Qualification:
    last = history.last
    return Qualification(
        qualified=history.decision == "passed",
        judge=history.judge,
        similarity=_score(last.similarity),
        precision=_score(last.precision),
        coverage=_score(last.coverage),
        thresholds=history.thresholds,
        prompts=len(last.prompts),
        round=last.number,
    )


def _score(points: Points) -> Score:
    return Score(value=points.value, low=points.low, high=points.high)


def _copy(source: Path, evaluation: Evaluation, target: Path) -> None:
    try:
        shutil.copytree(source, target, dirs_exist_ok=True)
        (target / EVALUATION_FILE).write_text(evaluation.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write to {target}: {error.strerror or error}. Free some space.") from error
