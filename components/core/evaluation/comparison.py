"""`evaluate`: ask base, tuned and champion model the same questions, and judge the difference."""

import json
import time
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from components.core.errors import ConfigError, StorageError
from components.core.evaluation.bootstrap import MIN_GROUPS, count_changed, estimate_means, group_numbers
from components.core.evaluation.candidates import (
    Candidate,
    base_candidate,
    champion_candidate,
    load,
    tuned_candidate,
)
from components.core.evaluation.forgetting import (
    ProbeLosses,
    compare_losses,
    forgetting_notes,
    judge_forgetting,
    kinds_of,
    probe_losses,
    read_probe,
)
from components.core.evaluation.gate import judge
from components.core.evaluation.held_out import read_dataset_fingerprint, read_test_rows
from components.core.evaluation.likelihood import METRICS, add_likelihood
from components.core.evaluation.predictions import Answers, Predictions, fingerprint_rows, predict, stays_on_a_line
from components.core.evaluation.report import write_report
from components.core.evaluation.results import (
    ALL_ROWS,
    EVALUATION_FILE,
    PREDICTIONS_FILE,
    SUMMARY_FILE,
    Difference,
    Evaluation,
    ModelFacts,
    ModelName,
    Score,
    Slice,
)
from components.core.evaluation.summary import summarize_markdown
from components.core.recipe import EvaluationConfig, GateConfig, ModelConfig, TaskConfig
from components.core.settings import Settings
from components.core.tasks import Row, Task, get_generative_task, group_of, references_of, view_row

FEW_ROWS = 30


def evaluate(
    task: TaskConfig,
    model: ModelConfig,
    evaluation: EvaluationConfig,
    gate: GateConfig,
    dataset_dir: Path,
    model_dir: Path,
    output_dir: Path,
    settings: Settings,
    champion_dir: Path | None = None,
) -> Evaluation:
    """Compare the tuned model with its base (and the champion) on the test rows, judge it, and write the report.

    Writes evaluation.json, predictions.jsonl, report.html and report.md into `output_dir`. A refused model is a result,
    not an error.

    Raises:
        ConfigError: If the answer length leaves no room for a prompt, or the gate asks for a metric of another task.
        DataError: If the test rows are missing or none are left, or the probe is unreadable.
        StorageError: If a model cannot be read, or the results cannot be written.
    """
    started = time.monotonic()
    reader = get_generative_task(task)
    metrics = [*reader.metric_names, *(METRICS if reader.loss_on else ())]
    if gate.metric not in metrics:
        raise ConfigError(f"gate.metric={gate.metric} is none of {task.name}. Choose one of {', '.join(metrics)}.")
    rows = read_test_rows(dataset_dir, evaluation.max_rows, evaluation.seed)
    fingerprint = read_dataset_fingerprint(dataset_dir)
    tuned = tuned_candidate(model_dir, model, settings)
    candidates = [base_candidate(model, tuned.prompt, settings), tuned]
    if champion_dir is not None:
        candidates.append(champion_candidate(champion_dir, model, settings))
    probe, kinds = read_probe(evaluation.probe_file), kinds_of(reader)
    predictions: dict[ModelName, Predictions] = {}
    probed: dict[ModelName, ProbeLosses] = {}
    vocabulary = 0
    for each in candidates:
        open_model = cache(partial(load, each))  # loaded once, and only where something is not known yet
        predictions[each.name] = predict(each, reader, rows, evaluation, settings.cache, open_model)
        if each.name != "champion":
            probed[each.name], size = probe_losses(each, probe, kinds, open_model, settings.cache)
            vocabulary = vocabulary or size
    forgetting = compare_losses(probe, probed["base"], probed["tuned"], vocabulary, evaluation)
    answers: dict[ModelName, Answers] = {
        candidate.name: _read_answers(candidate, predictions[candidate.name], reader, rows) for candidate in candidates
    }
    slices = compare(rows, {name: found.scores for name, found in answers.items()}, reader.metric_names, evaluation)
    if reader.loss_on:
        losses = {name: found.losses for name, found in predictions.items()}
        groups = group_numbers([group_of(row) for row in rows])
        slices[ALL_ROWS] = add_likelihood(slices[ALL_ROWS], losses, groups, evaluation)
    same = frozenset(each.name for each in candidates if each is not tuned and _same_model(each, tuned))
    contexts = len({group_of(row) for row in rows})
    result = Evaluation(
        task=task.name,
        metrics=metrics,
        gate_metric=gate.metric,
        confidence=evaluation.confidence,
        bootstrap_samples=evaluation.bootstrap_samples,
        seed=evaluation.seed,
        max_new_tokens=evaluation.max_new_tokens,
        repetition_penalty=evaluation.repetition_penalty,
        one_line=stays_on_a_line(tuned, rows),
        rows=len(rows),
        contexts=contexts,
        resampled="contexts" if MIN_GROUPS <= contexts < len(rows) else "rows",
        models={each.name: _facts(each, predictions[each.name]) for each in candidates},
        slices=slices,
        verdict=judge(
            gate,
            slices[ALL_ROWS],
            same,
            evaluation.confidence,
            slices.get("has_answer"),
            judge_forgetting(gate, forgetting, evaluation.confidence),
        ),
        forgetting=forgetting,
        notes=_notes(rows, contexts, candidates, predictions, reader.loss_on) + forgetting_notes(forgetting),
        dataset_fingerprint=fingerprint,
        test_fingerprint=fingerprint_rows(rows),
        seconds=time.monotonic() - started,
    )
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        _write_predictions(output_dir / PREDICTIONS_FILE, rows, answers)
        (output_dir / SUMMARY_FILE).write_text(summarize_markdown(result), encoding="utf-8")
        limit = None if gate.max_forgetting == "ignore" else gate.max_forgetting
        write_report(result, rows, answers, model_dir, output_dir, evaluation.examples, limit)
        # written last, so its presence means that the others are complete
        (output_dir / EVALUATION_FILE).write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"cannot write the evaluation to {output_dir}: {error}. Free space or choose another."
        ) from error
    return result


def _same_model(one: Candidate, other: Candidate) -> bool:
    return one.weights_sha256 == other.weights_sha256 and one.prompt == other.prompt


def _read_answers(candidate: Candidate, predictions: Predictions, task: Task, rows: Sequence[Row]) -> Answers:
    answers = [task.read_out(text, candidate.prompt) for text in predictions.texts]
    return Answers(answers, task.score_rows(rows, answers))


def compare(
    rows: Sequence[Row],
    scores: Mapping[ModelName, Sequence[Mapping[str, float]]],
    metrics: Sequence[str],
    config: EvaluationConfig,
) -> dict[str, Slice]:
    """Mean scores and paired differences with their intervals, on all rows and with and without an answer.

    Args:
        rows: The test rows.
        scores: By model, the metrics of each row, 0 to 1.
        metrics: Names of the metrics.
        config: Resamples, coverage and seed.
    """
    answerable = [bool(references_of(row)) for row in rows]
    members: dict[str, list[int]] = {ALL_ROWS: list(range(len(rows)))}
    if 0 < sum(answerable) < len(rows):
        members["has_answer"] = [number for number, yes in enumerate(answerable) if yes]
        members["no_answer"] = [number for number, yes in enumerate(answerable) if not yes]
    return {name: _compare_slice(rows, scores, metrics, config, numbers) for name, numbers in members.items()}


def _compare_slice(
    rows: Sequence[Row],
    scores: Mapping[ModelName, Sequence[Mapping[str, float]]],
    metrics: Sequence[str],
    config: EvaluationConfig,
    numbers: Sequence[int],
) -> Slice:
    pairs = [(model, metric) for model in scores for metric in metrics]
    columns = {(model, metric): np.array([scores[model][n][metric] for n in numbers]) for model, metric in pairs}
    gaps = {
        (model, metric): columns["tuned", metric] - columns[model, metric]
        for model, metric in pairs
        if model != "tuned"
    }
    groups = group_numbers([group_of(rows[n]) for n in numbers])
    values = np.stack([*columns.values(), *gaps.values()], axis=1)
    estimates = estimate_means(values, groups, config.bootstrap_samples, config.confidence, config.seed)
    found: dict[ModelName, dict[str, Score]] = {model: {} for model in scores}
    differences: dict[ModelName, dict[str, Difference]] = {model: {} for model in scores if model != "tuned"}
    for (model, metric), each in zip(columns, estimates[: len(columns)], strict=True):
        found[model][metric] = Score(value=each.value, low=each.low, high=each.high)
    for (model, metric), each in zip(gaps, estimates[len(columns) :], strict=True):
        changed = count_changed(gaps[model, metric], groups)
        differences[model][metric] = Difference(value=each.value, low=each.low, high=each.high, changed=changed)
    return Slice(rows=len(numbers), scores=found, differences=differences)


def _facts(candidate: Candidate, predictions: Predictions) -> ModelFacts:
    return ModelFacts(
        source=candidate.source,
        revision=candidate.revision,
        weights_sha256=candidate.weights_sha256,
        rows_cut=sum(predictions.cut),
        seconds=round(predictions.seconds, 3),
        cached=predictions.cached,
    )


def _notes(
    rows: Sequence[Row],
    contexts: int,
    candidates: Sequence[Candidate],
    predictions: Mapping[ModelName, Predictions],
    loss_on: str,
) -> list[str]:
    notes = []
    if len(rows) < FEW_ROWS:
        notes.append(
            f"Only {len(rows)} test rows: the intervals are wide and rough. Use at least {FEW_ROWS}, better 300."
        )
    if contexts < min(MIN_GROUPS, len(rows)):
        notes.append(
            f"Only {contexts} different contexts: the intervals hold for these texts and say little about others."
        )
    cut_what = "Prompts that lost their oldest turns" if loss_on else "Contexts cut at their end"
    cut: dict[int, list[str]] = {}
    for name, found in predictions.items():
        cut.setdefault(sum(found.cut), []).append(name)
    notes += [f"{cut_what} to fit the model: {number} ({', '.join(names)})." for number, names in cut.items() if number]
    if any(stays_on_a_line(candidate, rows) for candidate in candidates):
        notes.append(
            "An answer ends at its first line break, for all models alike: a base model does not stop by itself."
        )
    if loss_on:
        notes.append(
            f"Loss, in nats per token, and perplexity are those of {loss_on} of the test rows. Lower is better; a "
            "difference above 0 is a gain, as with the other metrics."
        )
    tokens = {tuple(count for _, count in found.losses) for found in predictions.values()}
    if len(tokens) > 1:
        notes.append("The models cut the rows into other tokens, or read less of them: their losses compare roughly.")
    return notes


def _write_predictions(path: Path, rows: Sequence[Row], answers: Mapping[ModelName, Answers]) -> None:
    with path.open("w", encoding="utf-8") as stream:
        for number, row in enumerate(rows):
            view = view_row(row)
            record: dict[str, Any] = {"id": row["id"], "question": view.question, "references": view.references}
            record.update((name, found.answers[number]) for name, found in answers.items())
            record["scores"] = {name: found.scores[number] for name, found in answers.items()}
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")
