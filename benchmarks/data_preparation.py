"""Question-answer rows to masked, packed Arrow: ours against TRL's own preparation, in turns within one run.

    python -m benchmarks.data_preparation [--rows 20000] [--repeats 3] [--model FOLDER]

Both read JSON lines and end with Arrow on disk. TRL gets the prompts rendered already; ours also checks every row,
renders it and writes its report. The unpacked ids and labels of both are compared row by row.
"""

import argparse
import gc
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from components.core.data.tokens import tokenize_dataset
from components.core.recipe import ModelConfig, TaskConfig, TokensConfig
from components.core.registry.base_model import read_tokenizer
from components.core.settings import STARTER_DIR, Settings
from components.core.tasks import get_generative_task
from components.core.tasks.rendering import build_prompt

ROOT = Path(__file__).resolve().parents[1]
SQUAD = ROOT.parent / "shared" / "data" / "squad_v1" / "train.jsonl"
OTHER_MODEL = ROOT.parent / "shared" / "models" / "stories260K"
RESULT = Path(__file__).parent / "results" / "data_preparation.json"
MAX_LENGTH = 2048
"""Tokens per sequence: room for nearly all rows, since the two sides treat longer ones differently."""
WARM_UP_ROWS = 200


def source_rows() -> list[dict[str, Any]]:
    """SQuAD rows where they are on this machine, else the starter's."""
    path = SQUAD if SQUAD.is_file() else STARTER_DIR / "data" / "train.jsonl"
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def distinct_rows(rows: list[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    """Repeat rows, each time with another end of the question."""
    for number in range(count):
        row = rows[number % len(rows)]
        yield row | {"id": str(number), "question": f"{row['question']} ({number})"}


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def copy_model(source: Path, target: Path) -> None:
    """The tokenizer with a config that allows MAX_LENGTH, so that no row is cut for the model's sake."""
    target.mkdir()
    for path in source.glob("*token*.json"):
        shutil.copy(path, target)
    config = json.loads((target / "tokenizer_config.json").read_text(encoding="utf-8"))
    (target / "tokenizer_config.json").write_text(json.dumps(config | {"model_max_length": MAX_LENGTH}))
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    (target / "config.json").write_text(json.dumps(config | {"max_position_embeddings": MAX_LENGTH}))


class Bench:
    """The rows in both forms, and one run of each side."""

    def __init__(self, place: Path, model: Path, count: int) -> None:
        self.place, self.runs = place, 0
        copy_model(model, place / "model")
        self.tokenizer = read_tokenizer(place / "model")
        self.task = TaskConfig(chat_template="never")
        task, prompt = get_generative_task(self.task), build_prompt(self.task, self.tokenizer)
        parsed = (task.parse_row(raw)[0] for raw in distinct_rows(source_rows(), count))
        rows = [row for row in parsed if row is not None]
        self.rows: list[dict[str, Any]] = []
        for start in range(0, len(rows), 1000):
            batch = rows[start : start + 1000]
            encoded = task.encode(batch, self.tokenizer, prompt, MAX_LENGTH, window=False)
            self.rows += [row for row, ids in zip(batch, encoded.input_ids, strict=True) if ids]
        pairs = [
            {"prompt": prompt.render(row["context"], row["question"]), "completion": " " + row["answers"]["text"][0]}
            for row in self.rows
        ]
        for name, size in (("warm", WARM_UP_ROWS), ("full", len(self.rows))):
            (place / name).mkdir()
            write_lines(place / name / "train.jsonl", self.rows[:size])
            write_lines(place / name / "validation.jsonl", self.rows[:1])
            write_lines(place / name / "test.jsonl", self.rows[:1])
            write_lines(place / f"{name}_pairs.jsonl", pairs[:size])

    def ours(self, name: str, home: Path | None = None) -> Path:
        """Prepare with a cold cache (or the one of an earlier run) and return the output folder."""
        self.runs += 1
        output = self.place / f"out{self.runs}"
        settings = Settings(whetstone_home=home or self.place / f"home{self.runs}")
        tokens = TokensConfig(max_seq_length=MAX_LENGTH)
        model = ModelConfig(model_id=str(self.place / "model"))
        tokenize_dataset(self.task, model, tokens, self.place / name, output, settings)
        return output

    def theirs(self, name: str, processes: int | None) -> Any:
        """What TRL makes of the pairs."""
        return self.with_trl(f"{name}_pairs.jsonl", processes, completion_only_loss=True)

    def with_trl(self, file: str, processes: int | None, completion_only_loss: bool, **options: Any) -> Any:
        """SFTTrainer's dataset preparation without the trainer: its method on the attributes that it reads."""
        from datasets import disable_progress_bars, load_dataset
        from trl.trainer.sft_config import SFTConfig
        from trl.trainer.sft_trainer import SFTTrainer

        disable_progress_bars()
        self.runs += 1
        config = SFTConfig(
            output_dir=str(self.place / "trl"), max_length=MAX_LENGTH, packing=True, dataset_num_proc=processes,
            use_cpu=True, bf16=False, activation_checkpointing=False, report_to="none", eos_token=None, **options,
        )  # fmt: skip
        trainer = SimpleNamespace(
            _tokenizer=self.tokenizer, chat_template=None, completion_only_loss=completion_only_loss
        )
        cache, rows = str(self.place / f"cache{self.runs}"), str(self.place / file)
        dataset = load_dataset("json", data_files=rows, split="train", cache_dir=cache)
        prepare: Callable[..., Any] = SFTTrainer._prepare_dataset
        return prepare(trainer, dataset, self.tokenizer, config, True, None, "train")


def examples_of(packs: list[dict[str, list[int]]]) -> Counter[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Ids and labels of the single examples, with how often each occurs."""
    found: Counter[tuple[tuple[int, ...], tuple[int, ...]]] = Counter()
    for pack in packs:
        start = 0
        for length in pack["seq_lengths"]:
            end = start + length
            found[tuple(pack["input_ids"][start:end]), tuple(pack["labels"][start:end])] += 1
            start = end
    return found


def seconds(call: Callable[[], Any]) -> tuple[float, float, Any]:
    """Wall time of a call, processor time of all its threads and processes, and what it gave."""
    gc.collect()
    start, used = time.perf_counter(), sum(os.times()[:4])
    result = call()
    return time.perf_counter() - start, sum(os.times()[:4]) - used, result


def measure(bench: Bench, repeats: int) -> dict[str, Any]:
    """Time all sides in turns and compare what they made."""
    import pyarrow as pa

    processes = os.cpu_count() or 1
    sides: dict[str, Callable[[str], Any]] = {
        "ours": bench.ours,
        "trl": lambda name: bench.theirs(name, None),
        f"trl, {processes} processes": lambda name: bench.theirs(name, processes),
    }
    for side in sides.values():
        side("warm")
    times: dict[str, list[float]] = {name: [] for name in sides}
    cpu_times: dict[str, list[float]] = {name: [] for name in sides}
    results: dict[str, Any] = {}
    for turn in range(repeats):
        for name, side in sides.items():
            took, used, results[name] = seconds(lambda side=side: side("full"))  # type: ignore[misc]
            times[name].append(round(took, 3))
            cpu_times[name].append(round(used, 3))
            print(f"turn {turn + 1}: {name:<18} {took:7.2f} s, processor time {used:7.2f} s", flush=True)
    folder = results["ours"]
    home = bench.place / f"home{folder.name.removeprefix('out')}"
    cached, _, _ = seconds(lambda: bench.ours("full", home))
    with pa.memory_map(str(folder / "train.arrow")) as source:
        table = pa.ipc.open_file(source).read_all()
        mine = examples_of(table.to_pylist())
    trl = examples_of([row for row in results["trl"].with_format(None)])
    info = json.loads((folder / "tokens_info.json").read_text(encoding="utf-8"))
    medians = {name: round(statistics.median(values), 3) for name, values in times.items()}
    cpu_medians = {name: round(statistics.median(values), 3) for name, values in cpu_times.items()}
    return {
        "rows": len(bench.rows),
        "tokens": info["splits"]["train"]["tokens"],
        "cores": processes,
        "seconds": times,
        "median_seconds": medians,
        "median_cpu_seconds": cpu_medians,
        "ratio": {name: round(value / medians["ours"], 2) for name, value in medians.items()},
        "cpu_ratio": {name: round(value / cpu_medians["ours"], 2) for name, value in cpu_medians.items()},
        "cached_seconds": round(cached, 4),
        "examples_that_differ": sum((mine - trl).values()),
        "packs": {"ours": table.num_rows, "trl": len(results["trl"])},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Data preparation, ours against TRL's.")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", type=Path, help="folder with a tokenizer and config.json")
    arguments = parser.parse_args()
    model = arguments.model or next((m for m in (STARTER_DIR / "model", OTHER_MODEL) if m.is_dir()), None)
    if model is None or not (model / "tokenizer.json").is_file():
        print("error: no tokenizer found. Name a folder with --model.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as place:
        result = measure(Bench(Path(place), model, arguments.rows), arguments.repeats)
    return report({"tokenizer": model.name} | result, RESULT)


def report(result: dict[str, Any], path: Path) -> int:
    """Write and print what was measured; 1 if the two sides made different examples."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(
        f"\n{result['rows']} rows, {result['tokens']} tokens, tokenizer {result['tokenizer']}, {result['cores']} cores"
    )
    print(f"  {'':<18} {'seconds':>8} {'ratio':>6} {'processor seconds':>18} {'ratio':>6}")
    for name, median in result["median_seconds"].items():
        cpu, ratio, cpu_ratio = (result[key][name] for key in ("median_cpu_seconds", "ratio", "cpu_ratio"))
        print(f"  {name:<18} {median:8.2f} {ratio:6.2f} {cpu:18.2f} {cpu_ratio:6.2f}")
    print(f"  ours, second call  {result['cached_seconds']:8.2f} (from the cache)")
    print(f"  examples that differ: {result['examples_that_differ']}; packs: {result['packs']}")
    return 0 if not result["examples_that_differ"] else 1


if __name__ == "__main__":
    sys.exit(main())
