"""What one run looks like in MLflow: parameters, curves, final metrics, tags, artifacts."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.core.registry.facts import EVALUATION_FILE, TRAINING_LOG_FILE, RunFacts
from components.core.registry.json_files import read_lines

METRICS_PER_BATCH = 1000
PARAMS_PER_BATCH = 100
PARAM_LENGTH = 6000
"""What a server takes at most: per request, and characters of one value."""
_REPORTS = ("report.html", "report.md", EVALUATION_FILE)


def write_record(
    client: Any, run_id: str, facts: RunFacts, card: str, model_dir: Path, evaluation_dir: Path, dataset_dir: Path
) -> None:
    """Log everything of a run that was made with `client.create_run`."""
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    params = [Param(key, value[:PARAM_LENGTH]) for key, value in flat_params(facts).items()]
    for part in _batches(params, PARAMS_PER_BATCH):
        client.log_batch(run_id, params=part)
    metrics = [Metric(key, value, now, step) for key, value, step in curve_points(model_dir / TRAINING_LOG_FILE)]
    final = facts.judged.flat_metrics() | {f"training_{key}": value for key, value in facts.training.numbers().items()}
    metrics += [Metric(key, value, now, 0) for key, value in final.items()]
    for part in _batches(metrics, METRICS_PER_BATCH):
        client.log_batch(run_id, metrics=part)
    _log_dataset(client, run_id, facts)
    client.log_text(run_id, card, "README.md")
    client.log_dict(run_id, facts.model_info(), "model_info.json")
    for folder, name in ((evaluation_dir, "evaluation"), (dataset_dir, "dataset")):
        for file in _REPORTS:
            if (folder / file).is_file():
                client.log_artifact(run_id, str(folder / file), name)


def flat_params(facts: RunFacts) -> dict[str, str]:
    """The recipe as `section.key` with values as text."""
    return {
        f"{section}.{key}": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for section, values in facts.recipe.items()
        for key, value in values.items()
    }


def curve_points(log: Path) -> Iterator[tuple[str, float, int]]:
    """Name, value and optimizer step of each point in a training log; a log that is not there has none."""
    if not log.is_file():
        return
    for point in read_lines(log, "Run the fine-tuning again."):
        step = point.pop("step", None)
        for key, value in point.items():
            if isinstance(step, int) and isinstance(value, int | float) and not isinstance(value, bool):
                yield f"train/{key}", float(value), step


def _log_dataset(client: Any, run_id: str, facts: RunFacts) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"id": facts.dataset_id, "revision": facts.dataset.revision})
    # the digest column of MLflow is 36 characters wide; the whole fingerprint is a tag of the run
    dataset = Dataset(facts.dataset_id, facts.dataset.fingerprint[-36:], "dataset", source)
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
