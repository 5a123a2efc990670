"""Judge int8 weights: `python -m llm-pipelines.gate-int8 --model FOLDER --dataset-dir PREPARED_OR_JSONL`.

Asks the served model every test row with fp32 and with int8 weights, and writes the verdict into the model folder,
where WEIGHTS=int8 looks for it. Exit codes: 0 passed, 3 refused, 2 wrong input.
"""

import os
import signal
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from components.core.errors import EXIT_REFUSED, ConfigError, DataError, StorageError, user_errors
from components.core.settings import load_settings

# mypy cannot follow a folder whose name has a hyphen.
from .precisions import AT_ONCE, Asked, ask_both  # type: ignore[import-not-found]


def main(
    model: Annotated[Path, typer.Option(help="Model folder.")],
    dataset_dir: Annotated[Path, typer.Option(help="Prepared dataset (its test rows), or a JSON Lines file of rows.")],
    tolerance: Annotated[
        float, typer.Option(min=0, max=1, help="F1 that int8 may surely not lose, as a share.")
    ] = 0.02,
    max_rows: Annotated[int | None, typer.Option(min=1, help="Ask only this many rows, drawn at random.")] = None,
) -> None:
    """Ask with fp32 and with int8 weights, compare the answers, and write the verdict into the model folder."""
    # ends the endpoint, too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with user_errors():
        passed = gate_int8(model, dataset_dir, tolerance, max_rows)
    sys.exit(0 if passed else EXIT_REFUSED)


def gate_int8(model: Path, dataset: Path, tolerance: float, max_rows: int | None) -> bool:
    """Judge int8 for a model folder and write quantization.json into it; whether it passed."""
    from components.core.evaluation.held_out import TEST_FILE, read_dataset_fingerprint, read_rows
    from components.core.evaluation.quantization import check_enough_rows, judge_int8, write_int8_verdict
    from components.core.registry.manifest import hash_file, verify_checksums
    from components.core.registry.model_folder import MODEL_INFO_FILE, read_model_folder
    from components.core.tasks import get_generative_task, read_prompt

    served = read_model_folder(model)
    task_config, config = _read_recipe(served.info, model / MODEL_INFO_FILE)
    if task_config.name != "context_qa":
        raise ConfigError(f"{model} is of {task_config.name}; int8 is judged for models of context_qa only.")
    verify_checksums(model)
    if not os.access(model, os.W_OK):
        raise StorageError(f"cannot write the verdict into {model}. Copy the folder to where you may write.")
    path = dataset / TEST_FILE if dataset.is_dir() else dataset
    rows = read_rows(path, max_rows, config.seed)
    check_enough_rows(len(rows))
    fingerprint = read_dataset_fingerprint(dataset) if dataset.is_dir() else "unknown"
    fingerprint = hash_file(path) if fingerprint == "unknown" else fingerprint

    print(f"Asking {served.info.get('name', model.name)} {len(rows)} questions with each precision", flush=True)
    home = load_settings().whetstone_home
    fp32, int8 = ask_both(model, served.manifest.content_sha256, rows, config.max_new_tokens, home)

    kept = [number for number in range(len(rows)) if None not in (fp32.answers[number], int8.answers[number])]
    if len(kept) < len(rows):
        print(f"note: {len(rows) - len(kept)} rows are too long for the model and are left out")
    task, prompt = get_generative_task(task_config), read_prompt(model)
    exact, rounded = ([task.read_out(asked.answers[number], prompt) for number in kept] for asked in (fp32, int8))
    judgement = judge_int8(task, [rows[number] for number in kept], exact, rounded, config, tolerance)
    _print(judgement, task.metric_names, config.confidence, fp32, int8)
    written = write_int8_verdict(
        model, served.manifest.content_sha256, judgement, config, tolerance, fingerprint, version("openvino")
    )
    print(f"\nVerdict in         {written}")
    print(f"Serve it           {'WEIGHTS=int8 ' if judgement.passed else ''}make serve MODEL={model}")
    return bool(judgement.passed)


def _read_recipe(info: dict[str, Any], where: Path) -> tuple[Any, Any]:
    """The task and evaluation sections that the model was judged with."""
    from pydantic import ValidationError

    from components.core.recipe import EvaluationConfig, TaskConfig

    recipe = info.get("recipe", {})
    try:
        task = TaskConfig.model_validate(recipe["task"])
        return task, EvaluationConfig.model_validate(recipe.get("evaluation", {}))
    except (KeyError, TypeError, ValidationError) as error:
        raise DataError(f"{where} does not say how the model was judged. Publish the model again.") from error


def _print(judgement: Any, metrics: Any, confidence: float, fp32: Asked, int8: Asked) -> None:
    from components.core.evaluation.summary import align, score_cells

    table = [["", "metric", "fp32", "int8", "int8 - fp32"], *score_cells(judgement.slices, metrics, ["base", "tuned"])]
    print(f"\n{judgement.rows} test rows; points of 100 with the {100 * confidence:g} % interval")
    print("\n".join(align(table)))
    if "no_answer" not in judgement.slices:
        print("note: every row is of one kind, with or without an answer; nothing is known about the other kind")
    print(f"\nAnswers changed    {judgement.answers_changed} of {judgement.rows}")
    print(f"Weights            {fp32.megabytes:.1f} MB fp32, {int8.megabytes:.1f} MB int8")
    speeds = [f"{asked.tokens_per_second:.0f} tokens/s {name}" for asked, name in ((fp32, "fp32"), (int8, "int8"))]
    print(f"Speed              {', '.join(speeds)} ({AT_ONCE} questions at once)")
    print(f"\n{judgement.headline}")


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(main)

if __name__ == "__main__":
    app(prog_name="python -m llm-pipelines.gate-int8")
