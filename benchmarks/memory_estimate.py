"""The memory estimate of the preflight against real trainings on this CPU: `python -m benchmarks.memory_estimate`.

Each training is a process of its own that fine-tunes a random Llama for two steps on rows of one length. Its largest
resident memory, libraries included, is compared with the estimate: once as it comes, and once with an allocator that
gives memory back at once, where the estimate's share for the allocator's holes is taken out.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.fixed_answer import ROOT
from benchmarks.random_llama import POSITIONS, write_random_llama
from components.core.preflight.model_shape import read_shape
from components.core.recipe import Recipe
from components.core.settings import Settings
from components.core.training.estimate import HOLES, PIECE_TOKENS, Place, estimate_memory

RESULT = ROOT / "benchmarks" / "results" / "memory_estimate.json"
CASES: tuple[tuple[str, dict[str, str]], ...] = (
    ("m25", {"method": "full"}),
    ("m25", {"method": "lora"}),
    ("m110", {"method": "full"}),
    ("m110", {"method": "full", "gradient_checkpointing": "on"}),
    ("m110", {"method": "lora"}),
)
ROWS, LABELS = 4, POSITIONS // 8
GIVEN_BACK = {"MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_TRIM_THRESHOLD_": "1048576"}
"""With these glibc gives every tensor's memory back at once, as CUDA's allocator does in effect."""


def main() -> None:
    """Run every case with both ways of the allocator and write the ratios."""
    results = []
    for shape, training in CASES:
        with tempfile.TemporaryDirectory() as folder:
            write_random_llama(Path(folder) / "base", shape)
            _write_tokens(Path(folder) / "tokens")
            for environment in ({}, GIVEN_BACK):
                command = [sys.executable, "-m", "benchmarks.memory_estimate", folder, json.dumps(training)]
                done = subprocess.run(
                    command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=True
                )
                results.append(
                    {"shape": shape, "given_back": bool(environment), **json.loads(done.stdout.splitlines()[-1])}
                )
                print(json.dumps(results[-1]), flush=True)
    RESULT.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def measure(folder: Path, training: dict[str, str]) -> dict[str, Any]:
    """Train once in this process and compare."""
    from components.core.training.hardware import cpu_has_bf16

    recipe = Recipe.model_validate(
        {
            "model": {"model_id": str(folder / "base")},
            "tokens": {"max_seq_length": POSITIONS},
            "training": {"max_steps": "2", "tokens_per_batch": str(2 * POSITIONS), "logging_steps": "1", **training},
        }
    )
    settings = Settings(whetstone_home=folder / "home")
    place, checkpointing = Place("cpu", bf16=cpu_has_bf16()), recipe.training.gradient_checkpointing == "on"
    memory = estimate_memory(read_shape(recipe.model, settings), recipe, place, PIECE_TOKENS["cpu"], checkpointing)
    expected = memory.total
    if "MALLOC_MMAP_THRESHOLD_" in os.environ:
        expected -= int(memory.activations * (1 - 1 / HOLES["cpu"]))
    peak = _train(recipe, folder, settings)
    return {
        "training": training,
        "precision": place.precision(recipe.training),
        "measured_mib": peak >> 20,
        "estimate_mib": expected >> 20,
        "ratio": round(expected / peak, 2),
    }


def _train(recipe: Recipe, folder: Path, settings: Settings) -> int:
    """Most resident memory of this process while it trained, in bytes."""
    from components.core.training import finetune

    out = folder / "out"
    finetune(recipe.task, recipe.model, recipe.training, recipe.lora, folder / "tokens", out, settings)
    points = [json.loads(line) for line in (out / "training_log.jsonl").read_text().splitlines()]
    # the log ends before the weights are written
    return max(int(point["peak_memory_bytes"]) for point in points)


def _write_tokens(folder: Path) -> None:
    """Rows of full length, an eighth of each a label, as the tokenization leaves them."""
    import numpy as np
    import pyarrow as pa

    from benchmarks.random_llama import starter_tokenizer
    from components.core.tasks.prompt import Prompt, write_prompt

    folder.mkdir(parents=True)
    ids = np.random.default_rng(0).integers(3, starter_tokenizer().get_vocab_size(), POSITIONS).tolist()
    labels = [-100] * (POSITIONS - LABELS) + ids[-LABELS:]
    column = pa.list_(pa.int32())
    for split, rows in (("train", ROWS), ("validation", 1)):
        columns = [pa.array([values] * rows, column) for values in (ids, labels, [POSITIONS])]
        batch = pa.record_batch(columns, names=["input_ids", "labels", "seq_lengths"])
        with pa.OSFile(str(folder / f"{split}.arrow"), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)
    (folder / "tokens_info.json").write_text('{"fingerprint": "random"}', encoding="utf-8")
    write_prompt(Prompt("Context: {context}\nQuestion: {question}\nAnswer:", False, "not in the context"), folder)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(Path(sys.argv[1]), json.loads(sys.argv[2]))))
    else:
        main()
