"""What the pipeline costs beyond the work: the local run against the same core functions called by plain scripts.

Two peers, in turn with ours in each round: `script` calls all core functions in one process; `processes` calls each in
a process of its own, so that it pays the imports that each step needs and nothing else. The goal is at most one second
a step over `processes`, and five seconds for a re-run that takes everything from the cache.

    python -m benchmarks.pipeline_overhead [--rounds N]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from components.core.recipe import Recipe, load_recipe

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "pipeline_overhead.json"
STEPS = ("fetch", "tokenize", "finetune", "evaluate", "upload", "register")
OVERRIDES = [
    "data.max_rows=300",
    "training.max_steps=5",
    "evaluation.max_rows=40",
    "evaluation.bootstrap_samples=200",
    "gate.enabled=false",
]


def recipe() -> Recipe:
    """The small run that all contenders do."""
    return load_recipe(None, OVERRIDES, ROOT / "llm-pipelines" / "recipes" / "models").recipe


def call(step: str, folder: Path) -> None:
    """Do the work of one step with the library alone, from and to sub-folders of `folder`."""
    from components.core.settings import load_settings

    chosen, settings = recipe(), load_settings()
    dataset, tokens, model, judged, final = (folder / name for name in STEPS[:5])
    if step == "fetch":
        from components.core.data import prepare_dataset

        prepare_dataset(chosen.data, chosen.task, dataset, settings)
    elif step == "tokenize":
        from components.core.data.tokens import tokenize_dataset

        tokenize_dataset(chosen.task, chosen.model, chosen.tokens, dataset, tokens, settings)
    elif step == "finetune":
        from components.core.training import finetune

        finetune(chosen.task, chosen.model, chosen.training, chosen.lora, tokens, model, settings)
    elif step == "evaluate":
        from components.core.evaluation import evaluate
        from components.core.registry import champion_folder, registered_name

        champion = champion_folder(registered_name(chosen.registry, chosen.model, chosen.task), settings)
        evaluate(chosen.task, chosen.model, chosen.evaluation, chosen.gate, dataset, model, judged, settings, champion)
    elif step == "upload":
        from components.core.registry import publish

        sections = chosen.model_dump(mode="json")
        publish(model, judged, dataset, chosen.registry, sections, settings, final)
    else:
        from components.core.registry import register

        register(None, model, judged, dataset, chosen.registry, chosen.model_dump(mode="json"), settings)


def seconds(arguments: list[str], home: Path) -> float:
    """Wall-clock seconds of one Python process."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, "WHETSTONE_HOME": str(home)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.monotonic() - began


def measure(home: Path) -> dict[str, float]:
    """One round: each contender once, each with nothing cached."""
    own = "benchmarks.pipeline_overhead"
    pipeline = ["llm-pipelines.fine-tune-pipeline", *OVERRIDES]
    result = {
        "script": seconds([own, "--call", *STEPS, "--folder", str(home / "script")], home / "script-home"),
        "processes": sum(
            seconds([own, "--call", step, "--folder", str(home / "steps")], home / "steps-home") for step in STEPS
        ),
        "pipeline": seconds(pipeline, home / "pipeline-home"),
        "cached": seconds(pipeline, home / "pipeline-home"),
    }
    print("  ".join(f"{name} {value:.2f} s" for name, value in result.items()), flush=True)
    return result


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--call", nargs="+", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.call:
        for step in arguments.call:
            call(step, arguments.folder)
        return
    rounds = []
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as home:
            rounds.append(measure(Path(home)))
    medians = {name: round(median(found[name] for found in rounds), 2) for name in rounds[0]}
    per_step = round(median((found["pipeline"] - found["processes"]) / len(STEPS) for found in rounds), 2)
    result = {
        "rounds": rounds,
        "median_seconds": medians,
        "overhead_per_step_seconds": per_step,
        "pipeline_over_script": round(medians["pipeline"] / medians["script"], 2),
        "cached_seconds": medians["cached"],
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"\nmedians: {medians}")
    print(f"overhead a step, beyond the imports that it needs: {per_step:.2f} s (goal <= 1)")
    print(f"pipeline over one script: {result['pipeline_over_script']:.2f}x")
    print(f"re-run from the cache: {medians['cached']:.2f} s (goal <= 5)")


if __name__ == "__main__":
    main()
