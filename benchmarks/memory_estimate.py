"""The memory estimate of the preflight against real trainings on this CPU: `python -m benchmarks.memory_estimate`.

Each training is a process of its own that fine-tunes a random Llama for two steps on rows of one length. Compared are
the estimate without the process itself, and the growth of resident memory from before the weights are loaded to its
peak.
"""

import json
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
from components.core.training.estimate import PIECE_TOKENS, PROCESS_BYTES, Place, estimate_memory

RESULT = ROOT / "benchmarks" / "results" / "memory_estimate.json"
CASES: tuple[tuple[str, dict[str, str]], ...] = (
    ("m25", {"method": "full"}),
    ("m25", {"method": "lora"}),
    ("m25", {"method": "lora", "gradient_checkpointing": "on"}),
    ("m110", {"method": "full"}),
    ("m110", {"method": "full", "optim": "adafactor"}),
    ("m110", {"method": "full", "gradient_checkpointing": "on"}),
    ("m110", {"method": "lora"}),
    ("m110", {"method": "lora", "precision": "16"}),
)
ROWS, LABELS = 4, POSITIONS // 8


def main() -> None:
    """Run every case and write the ratios."""
    results = []
    for shape, training in CASES:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "benchmarks.memory_estimate", folder, shape, json.dumps(training)]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        results.append(json.loads(done.stdout.splitlines()[-1]))
        found = results[-1]
        print(
            f"{shape:<5} {training}: measured {found['measured_mib']} MiB, estimate {found['estimate_mib']} MiB, "
            f"ratio {found['ratio']}",
            flush=True,
        )
    RESULT.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def measure(folder: Path, shape: str, training: dict[str, str]) -> dict[str, Any]:
    """Train once in this process and compare."""
    from components.core.training.hardware import cpu_has_bf16

    write_random_llama(folder / "base", shape)
    _write_tokens(folder / "tokens")
    recipe = Recipe.model_validate(
        {
            "model": {"model_id": str(folder / "base")},
            "tokens": {"max_seq_length": POSITIONS},
            "training": {"max_steps": "2", "tokens_per_batch": str(2 * POSITIONS), "logging_steps": "1", **training},
        }
    )
    settings = Settings(whetstone_home=folder / "home")
    place = Place("cpu", bf16=cpu_has_bf16())
    checkpointing = recipe.training.gradient_checkpointing == "on"
    memory = estimate_memory(read_shape(recipe.model, settings), recipe, place, PIECE_TOKENS["cpu"], checkpointing)
    growth = _train(recipe, folder, settings)
    expected = memory.total - PROCESS_BYTES["cpu"]
    return {
        "shape": shape,
        "training": training,
        "precision": place.precision(recipe.training),
        "measured_mib": growth >> 20,
        "estimate_mib": expected >> 20,
        "ratio": round(expected / growth, 2),
    }


def _train(recipe: Recipe, folder: Path, settings: Settings) -> int:
    """Bytes by which resident memory grew at most."""
    import peft  # noqa: F401
    import psutil
    from transformers import Trainer  # noqa: F401

    from components.core.training import finetune

    before = int(psutil.Process().memory_info().rss)
    finetune(
        recipe.task, recipe.model, recipe.training, recipe.lora, folder / "tokens", folder / "out", settings
    )  # fmt: skip
    points = [json.loads(line) for line in (folder / "out" / "training_log.jsonl").read_text().splitlines()]
    return max(int(point["peak_memory_bytes"]) for point in points) - before


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
        print(json.dumps(measure(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))))
    else:
        main()
