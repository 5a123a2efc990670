"""`evaluate_head`: the tuned model against the majority, a bag of words and the champion, and the gate's word."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.core.catalogue import HeadGate
from components.core.errors import ConfigError, DataError, StorageError
from components.core.evaluation.bootstrap import MIN_GROUPS
from components.core.evaluation.comparison import FEW_ROWS
from components.core.evaluation.gate import MetricRules, judge
from components.core.evaluation.held_out import read_dataset_fingerprint
from components.core.evaluation.results import (
    ALL_ROWS,
    EVALUATION_FILE,
    METRIC_LABELS,
    PREDICTIONS_FILE,
    SUMMARY_FILE,
    ModelName,
    Slice,
    Verdict,
)
from components.core.heads.evaluation.comparison import compare_heads
from components.core.heads.evaluation.details import describe
from components.core.heads.evaluation.floors import MAX_TRAINING_ROWS, bag_of_words, majority
from components.core.heads.evaluation.inputs import read_predictions, read_split
from components.core.heads.evaluation.report import write_head_report
from components.core.heads.evaluation.results import ComparedModel, HeadEvaluation
from components.core.heads.evaluation.summary import summarize_markdown
from components.core.heads.evaluation.tallies import TALLIED, tally
from components.core.recipe import EvaluationConfig
from components.core.registry.manifest import hash_file
from components.core.settings import Settings
from components.core.tasks import HeadTask, Row, get_head_task
from components.core.tasks.heads import Head, Prediction, read_head

Predictions = dict[ModelName, list[Prediction]]


def evaluate_head(
    task: str,
    gate: HeadGate,
    evaluation: EvaluationConfig,
    preprocess_dir: Path,
    model_dir: Path,
    inference_dir: Path,
    output_dir: Path,
    settings: Settings,
    champion_dir: Path | None = None,
) -> HeadEvaluation:
    """Judge the inference's predictions of the test rows, and write the report.

    Writes evaluation.json (last), predictions.jsonl, report.html and report.md into `output_dir`. A refused model is a
    result, not an error.

    Raises:
        ConfigError: If the gate's metric is not one of the task.
        DataError: If there are no rows to judge on or to learn a floor from.
        StorageError: If a folder cannot be used, or the predictions are not of these test rows.
    """
    started = time.monotonic()
    reader, head = get_head_task(task), read_head(model_dir)
    if head.task != task or gate.metric not in TALLIED[task]:
        raise ConfigError(f"{model_dir} is a {head.task} model, judged as {task} by {gate.metric}. Name what it is.")
    test_file = preprocess_dir / "test.jsonl"
    rows, train = (read_split(preprocess_dir, split, reader) for split in ("test", "train"))
    if not rows or not train:
        raise DataError(f"{preprocess_dir} has {len(rows)} test and {len(train)} training rows. Give some of both.")
    tuned, facts = read_predictions(inference_dir, test_file, len(rows), head)
    rows, tuned = _sample(rows, tuned, evaluation)
    predictions: Predictions = {"base": majority(head, train, rows, gate.metric)}
    floor = bag_of_words(head, train, read_split(preprocess_dir, "validation", reader), rows, evaluation.seed)
    if floor is not None:
        predictions["bag_of_words"] = floor
    predictions["tuned"] = tuned
    if champion_dir is not None:
        predictions["champion"] = _ask_champion(champion_dir, reader, rows, settings)
    result = _judge(head, reader, gate, evaluation, rows, predictions, {
        "models": _models(predictions, model_dir, facts, champion_dir),
        "notes": _notes(rows, reader, floor is None, len(train)) + _other_labels(champion_dir, head),
        "dataset_fingerprint": read_dataset_fingerprint(preprocess_dir),
        "test_sha256": hash_file(test_file),
    }, started)  # fmt: skip
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        _write_predictions(output_dir / PREDICTIONS_FILE, rows, predictions)
        (output_dir / SUMMARY_FILE).write_text(summarize_markdown(result), encoding="utf-8")
        write_head_report(result, reader, rows, predictions, model_dir, output_dir)
        # written last, so its presence means that the others are complete
        (output_dir / EVALUATION_FILE).write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write the evaluation to {output_dir}: {error}. Free some space.") from error
    return result


def _judge(
    head: Head,
    reader: HeadTask,
    gate: HeadGate,
    evaluation: EvaluationConfig,
    rows: Sequence[Row],
    predictions: Predictions,
    facts: Mapping[str, Any],
    started: float,
) -> HeadEvaluation:
    keys = [reader.row_key(row) for row in rows]
    tallies = {name: tally(head.task, rows, found, head.labels) for name, found in predictions.items()}
    metrics = [gate.metric, *(metric for metric in TALLIED[head.task] if metric != gate.metric)]
    everything = compare_heads(tallies, keys, metrics, evaluation)
    scores = {name: reader.score(rows, _known(found, head), head) for name, found in predictions.items()}
    contexts = len(set(keys))
    return HeadEvaluation(
        task=head.task,
        metrics=[metric for metric in metrics if metric in everything.scores["tuned"]],
        gate_metric=gate.metric,
        confidence=evaluation.confidence,
        bootstrap_samples=evaluation.bootstrap_samples,
        seed=evaluation.seed,
        rows=len(rows),
        contexts=contexts,
        resampled="contexts" if MIN_GROUPS <= contexts < len(rows) else "rows",
        slices={ALL_ROWS: everything},
        verdict=decide(gate, everything, scores["tuned"].undefined, evaluation.confidence),
        values={name: each.values for name, each in scores.items()},
        undefined={name: each.undefined for name, each in scores.items()},
        details=describe(scores["tuned"], rows, predictions["tuned"], head),
        seconds=time.monotonic() - started,
        **facts,
    )


def decide(gate: HeadGate, everything: Slice, undefined: Mapping[str, str], confidence: float) -> Verdict:
    """The gate's word; a metric that is not defined on the test rows shows no difference."""
    if gate.metric not in everything.scores["tuned"]:
        why = undefined.get(gate.metric, "it is not defined on these rows")
        reason = f"{METRIC_LABELS[gate.metric]} cannot be measured on the test rows: {why}"
        status, word = ("refused", "REFUSED") if gate.enabled else ("passed", "PASSED WITH THE GATE OFF")
        warnings = [] if gate.enabled else ["The gate is switched off; it would have refused the model."]
        return Verdict.model_validate(
            {"status": status, "outcome": "no difference", "headline": f"{word}: {reason}", "reasons": [reason],
             "warnings": warnings}
        )  # fmt: skip
    rules = MetricRules(
        metric=gate.metric,
        enabled=gate.enabled,
        minimum={} if gate.minimum is None else {gate.metric: gate.minimum},
        min_improvement=gate.min_improvement,
        champion=gate.champion,
        bag_of_words=gate.bag_of_words,
        tolerance=gate.tolerance,
    )
    return judge(rules, everything, frozenset(), confidence)


def _sample(
    rows: list[Row], predictions: list[Prediction], evaluation: EvaluationConfig
) -> tuple[list[Row], list[Prediction]]:
    if evaluation.max_rows is None or evaluation.max_rows >= len(rows):
        return rows, predictions
    chosen = np.random.default_rng(evaluation.seed).choice(len(rows), evaluation.max_rows, replace=False)
    numbers = sorted(chosen.tolist())
    return [rows[number] for number in numbers], [predictions[number] for number in numbers]


def _known(predictions: Sequence[Prediction], head: Head) -> list[Prediction]:
    """The same with a probability for each label of the tuned model: a champion may know others."""
    if head.task not in ("single_label", "multi_label"):
        return list(predictions)
    return [
        each | {"probabilities": {label: each["probabilities"].get(label, 0.0) for label in head.labels}}
        for each in predictions
    ]


def _ask_champion(folder: Path, reader: HeadTask, rows: Sequence[Row], settings: Settings) -> list[Prediction]:
    from components.core.heads.inference import open_predictor, predict

    predictor = open_predictor(folder, settings)
    if predictor.head.task != reader.name:
        raise StorageError(f"the champion in {folder} is a {predictor.head.task} model, not {reader.name}. Rename one.")
    return list(predict(predictor, reader, rows))


def _models(
    predictions: Predictions, model_dir: Path, facts: Mapping[str, Any], champion_dir: Path | None
) -> dict[ModelName, ComparedModel]:
    known: dict[ModelName, ComparedModel] = {
        "base": ComparedModel(source="majority answer of the training rows"),
        "bag_of_words": ComparedModel(source="bag of words on the training rows"),
        "tuned": ComparedModel(
            source=str(facts.get("model") or model_dir.name),
            sha256=str(facts.get("model_sha256", "")),
            runtime=str(facts.get("runtime", "")),
            rows_cut=int(facts.get("cut") or 0),
            seconds=float(facts.get("seconds") or 0),
        ),
        "champion": ComparedModel(source=champion_dir.name if champion_dir else ""),
    }
    return {name: known[name] for name in predictions}


def _notes(rows: Sequence[Row], reader: HeadTask, no_floor: bool, train: int) -> list[str]:
    notes = ["Base is one constant answer for all rows, chosen on the training rows."]
    if len(rows) < FEW_ROWS:
        notes.append(f"Only {len(rows)} test rows: the intervals are wide and rough. Use at least {FEW_ROWS}.")
    if no_floor:
        notes.append("There is no bag-of-words floor: the training rows hold one label only, or no text.")
    elif train > MAX_TRAINING_ROWS:
        notes.append(f"The bag of words learned from {MAX_TRAINING_ROWS:,} of {train:,} training rows.")
    if reader.name == "regression":
        notes.append("A smaller error is a gain: differences of MAE and RMSE are turned round, so that + is better.")
        notes.append("A constant prediction has no correlation; it counts 0 where models are compared.")
    return notes


def _other_labels(champion_dir: Path | None, head: Head) -> list[str]:
    """A warning where the champion was trained on other labels: it cannot give these answers."""
    labels = set(head.labels)
    if champion_dir is None or not labels or labels <= (known := set(read_head(champion_dir).labels)):
        return []
    return [
        f"The champion knows {len(labels & known)} of these {len(labels)} labels: comparing says little. Give a "
        "model of other data a name of its own (registered_model_name)."
    ]


def _write_predictions(path: Path, rows: Sequence[Row], predictions: Predictions) -> None:
    with path.open("w", encoding="utf-8") as stream:
        for number, row in enumerate(rows):
            record = {"row": row} | {name: found[number] for name, found in predictions.items()}
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")
