"""`run_inference`: one line for every row of a file, in bounded memory, resumed after a kill."""

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from components.core.catalogue import InferenceParameters
from components.core.errors import StorageError
from components.core.heads.folders import METADATA_FILE, PREDICTIONS_FILE, PREDICTIONS_TEXT_FILE
from components.core.heads.inference.predictor import Predictor, open_predictor, predict_rows
from components.core.heads.inference.reading import InputFile, InputRow
from components.core.heads.preprocess.args import read_preprocess_args
from components.core.metrics.labels import Values
from components.core.recipe.deepspeed import read_configuration
from components.core.registry.manifest import hash_file
from components.core.settings import Settings
from components.core.tasks import HeadTask, Row, get_head_task
from components.core.tasks.heads import Prediction

logger = logging.getLogger(__name__)

_FORMAT = 1
"""Raise it when the same inputs give other lines than before, so that a half-finished file is not gone on with."""
_WINDOW = 4096
"""Rows that are sorted by length together; what is in memory at once, and lost by a kill at most."""
_PROGRESS_SECONDS = 5.0
_NOT_ALONE = ("row", "cut")
"""Keys of a line of predictions.jsonl beside the prediction's own."""


@dataclass(frozen=True)
class InferenceReport:
    """What came of an inference, as it stands in metadata.json."""

    task: str
    model: str
    """Name of the model's folder."""
    model_sha256: str
    runtime: str
    weights: str
    rows: int
    cut: int
    """Rows whose text was longer than the model reads."""
    resumed_from_row: int
    """Rows that an earlier, stopped run had predicted."""
    seconds: float
    rows_per_second: float
    """Of this run, reading and writing included."""
    test_file: str
    test_sha256: str
    scored: int
    """Rows that say what is right."""
    metrics_by_name: Values | None
    undefined: dict[str, str] = field(default_factory=dict)
    """Why a metric is none."""

    def metrics(self) -> dict[str, float]:
        """The numbers by name."""
        found = {"rows": float(self.rows), "cut": float(self.cut), "rows_per_second": self.rows_per_second}
        return found | {name: value for name, value in (self.metrics_by_name or {}).items() if value is not None}

    def metadata(self) -> dict[str, Any]:
        """The content of metadata.json."""
        return {"metrics" if name == "metrics_by_name" else name: value for name, value in vars(self).items()}


def run_inference(parameters: InferenceParameters, output_dir: Path, settings: Settings) -> InferenceReport:
    """Predict every row of a file.

    Writes predictions.txt, predictions.jsonl and, last, metadata.json. A run that was stopped goes on where it was when
    it is started again with the same model and file.

    Raises:
        DataError: Naming the rows that cannot be predicted; nothing is predicted then.
        StorageError: If model, file or output folder cannot be used.
        ConfigError: If the model cannot be run as asked for.
    """
    started = time.monotonic()
    if parameters.deepspeed is not None:
        read_configuration(parameters.deepspeed)
        logger.info("The DeepSpeed configuration is valid; a model that fits on one device is predicted without it")
    model_dir = Path(parameters.model_path)
    args = read_preprocess_args(model_dir)
    task = get_head_task(args.task)
    file = InputFile(Path(parameters.test_file), task, args.columns)
    total = file.check()
    predictor = open_predictor(model_dir, settings, parameters.runtime, parameters.weights)
    test_sha256 = hash_file(file.path)
    partial = _partial_file(predictor, test_sha256, args.columns, settings)
    try:
        done = _complete_lines(partial)
        if done:
            logger.info("Going on after row %d of %d, where an earlier run stopped", done, total)
        _predict_rest(file, predictor, task, partial, done, total)
        output_dir.mkdir(parents=True, exist_ok=True)
        (output_dir / METADATA_FILE).unlink(missing_ok=True)
        cut, scored = _write_output(partial, file, task, output_dir)
    except OSError as error:
        raise StorageError(
            f"cannot write predictions to {output_dir} or {partial.parent}: {error.strerror or error}. Free some space "
            "and run again; what is predicted is kept."
        ) from error
    scores = task.score(*scored, predictor.head) if scored[0] else None
    seconds = time.monotonic() - started
    report = InferenceReport(
        task=task.name,
        model=model_dir.name,
        model_sha256=predictor.model_sha256,
        runtime=predictor.runtime,
        weights=predictor.weights,
        rows=total,
        cut=cut,
        resumed_from_row=done,
        seconds=round(seconds, 3),
        rows_per_second=round((total - done) / seconds, 1),
        test_file=file.name,
        test_sha256=test_sha256,
        scored=len(scored[0]),
        metrics_by_name=scores.values if scores else None,
        undefined=scores.undefined if scores else {},
    )
    # written last, so its presence means that the folder is complete
    text = json.dumps(report.metadata(), ensure_ascii=False, indent=2) + "\n"
    (output_dir / METADATA_FILE).write_text(text, encoding="utf-8")
    partial.unlink(missing_ok=True)
    logger.info("Predicted %d rows in %.1f s (%d cut)", total, seconds, cut)
    return report


def _partial_file(predictor: Predictor, test_sha256: str, columns: dict[str, str], settings: Settings) -> Path:
    parts = [_FORMAT, predictor.model_sha256, predictor.runtime, predictor.weights, test_sha256, columns]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    # beside the checkpoints, which survive the pod that is killed
    return settings.checkpoints / "inference" / f"{key}.jsonl"


def _complete_lines(path: Path) -> int:
    """Lines of an unfinished file; one that was cut short by a kill is taken away."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    lines = end = 0
    with path.open("rb+") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            lines += 1
            end += len(line)
        file.truncate(end)
    return lines


def _predict_rest(file: InputFile, predictor: Predictor, task: HeadTask, partial: Path, done: int, total: int) -> None:
    began, said, ahead = time.monotonic(), time.monotonic(), done
    rows = islice(file.rows(), done, None)
    with partial.open("a", encoding="utf-8") as out:
        while window := list(islice(rows, _WINDOW)):
            found = predict_rows(predictor, task, [row.inputs for row in window])
            for row, prediction, cut in zip(window, found.predictions, found.cut, strict=True):
                out.write(json.dumps({"row": row.number, **prediction, "cut": cut}, ensure_ascii=False) + "\n")
            out.flush()
            done += len(window)
            if time.monotonic() - said > _PROGRESS_SECONDS:
                said = time.monotonic()
                logger.info("%d of %d rows, %.0f rows/s", done, total, (done - ahead) / (said - began))


def _write_output(
    partial: Path, file: InputFile, task: HeadTask, output_dir: Path
) -> tuple[int, tuple[list[Row], list[Prediction]]]:
    """Write both files; gives the number of cut rows, and the rows that say what is right with their predictions."""
    cut = 0
    rows: list[Row] = []
    predictions: list[Prediction] = []
    with (
        (output_dir / PREDICTIONS_FILE).open("w", encoding="utf-8") as full,
        (output_dir / PREDICTIONS_TEXT_FILE).open("w", encoding="utf-8") as plain,
    ):
        for row, line in zip(file.rows(), _lines(partial, full), strict=True):
            prediction = {name: value for name, value in line.items() if name not in _NOT_ALONE}
            plain.write(task.line(prediction) + "\n")
            cut += line["cut"]
            if row.labelled is not None:
                rows.append(row.labelled)
                predictions.append(_as_labelled(prediction, row))
    return cut, (rows, predictions)


def _lines(partial: Path, copy: TextIO) -> Iterator[dict[str, Any]]:
    with partial.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            copy.write(line)
            yield json.loads(line)


def _as_labelled(prediction: Prediction, row: InputRow) -> Prediction:
    """A prediction for the words that a labelled row keeps: blank ones have no right tag."""
    if "tags" not in prediction:
        return prediction
    words: Sequence[str] = row.inputs["tokens"]
    return prediction | {"tags": [tag for tag, word in zip(prediction["tags"], words, strict=True) if word.strip()]}
