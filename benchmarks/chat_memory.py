"""Peak memory of a LoRA fine-tune on conversations, ours against TRL's SFTTrainer: `python -m benchmarks.chat_memory`.

Each side is a process of its own that trains the same random Llama for the same steps on the same token ids, eight rows
to a batch with the loss on the same positions, and the same adapter. What counts is the largest resident memory of the
process, libraries included; ours also writes the merged model in it. The sides take turns, and the least of each
counts: what else the machine does never makes one smaller.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.fixed_answer import ROOT
from benchmarks.random_llama import POSITIONS, write_random_llama

RESULT = ROOT / "benchmarks" / "results" / "chat_memory.json"
BATCH, STEPS, R, ALPHA = 8, 2, 16, 32
SIDES: dict[str, dict[str, Any]] = {
    "ours": {},
    "trl": {},
    "ours, 16 bit": {"precision": "16"},
    "trl, fp32 without checkpointing": {"bf16": False, "activation_checkpointing": False},
}
"""Everyone as it comes, but for what is named here."""


def draw_rows(count: int, vocabulary: int) -> list[tuple[list[int], list[int]]]:
    """Conversations of three turns: random ids of skewed lengths, and a mask of what the assistant says."""
    import numpy as np

    draw = np.random.default_rng(0)
    rows = []
    for _ in range(count):
        ids: list[int] = []
        mask: list[int] = []
        for _ in range(3):
            question, answer = (int(each) for each in np.clip(draw.lognormal((3.6, 4.4), 0.7), 8, 160))
            ids += draw.integers(3, vocabulary, question + answer).tolist()
            mask += [0] * question + [1] * answer
        rows.append((ids[:POSITIONS], mask[:POSITIONS]))
    return rows


def write_tokens(folder: Path, rows: list[tuple[list[int], list[int]]]) -> None:
    """The rows as our tokenization leaves them."""
    import pyarrow as pa

    from components.core.tasks.prompt import Prompt, write_prompt

    folder.mkdir()
    column = pa.list_(pa.int32())
    schema = pa.schema([("input_ids", column), ("labels", column), ("seq_lengths", column)])
    for split, kept in (("train", rows), ("validation", [])):
        labels = [[i if m else -100 for i, m in zip(ids, mask, strict=True)] for ids, mask in kept]
        values = [[ids for ids, _ in kept], labels, [[len(ids)] for ids, _ in kept]]
        with pa.OSFile(str(folder / f"{split}.arrow"), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            writer.write_batch(pa.record_batch([pa.array(value, column) for value in values], schema=schema))
    (folder / "tokens_info.json").write_text('{"fingerprint": "random"}', encoding="utf-8")
    write_prompt(Prompt("{context} {question}", False, "no"), folder)


def train_ours(folder: Path, options: dict[str, Any]) -> None:
    from components.core.recipe import LoraConfig, ModelConfig, TaskConfig, TrainingConfig
    from components.core.settings import Settings
    from components.core.training import finetune

    training = TrainingConfig.model_validate(
        {"per_device_train_batch_size": BATCH, "max_steps": STEPS, "save_steps": 10**6, "logging_steps": 1, **options}
    )
    model = ModelConfig(model_id=str(folder / "base"))
    output = Path(tempfile.mkdtemp(dir=folder))
    settings = Settings(whetstone_home=output / "home")
    finetune(TaskConfig(), model, training, LoraConfig(r=R, alpha=ALPHA), folder / "tokens", output, settings)


def train_trl(folder: Path, options: dict[str, Any]) -> None:
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    rows = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
    dataset = Dataset.from_dict({"input_ids": [ids for ids, _ in rows], "completion_mask": [mask for _, mask in rows]})
    config = SFTConfig(
        output_dir=tempfile.mkdtemp(dir=folder), per_device_train_batch_size=BATCH, max_steps=STEPS,
        completion_only_loss=True, report_to="none", save_strategy="no", disable_tqdm=True, use_cpu=True, **options,
    )  # fmt: skip
    adapter = LoraConfig(task_type="CAUSAL_LM", r=R, lora_alpha=ALPHA, target_modules="all-linear")
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder / "base"), args=config, train_dataset=dataset,
        processing_class=AutoTokenizer.from_pretrained(folder / "base"), peft_config=adapter,
    )  # fmt: skip
    trainer.train()


def measure(folder: Path, side: str) -> int:
    """Most resident memory of a process that trains, in bytes."""
    command = [sys.executable, "-m", "benchmarks.chat_memory", "--folder", str(folder), "--side", side]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"error: {side} ended with {done.returncode}\n{done.stderr[-2000:]}")
    return int(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak memory of a LoRA fine-tune, ours against TRL's.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shape", default="m25")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        train = train_ours if options.side.startswith("ours") else train_trl
        train(options.folder, SIDES[options.side])
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        return
    peaks: dict[str, list[int]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        parameters = write_random_llama(folder / "base", options.shape)
        vocabulary = json.loads((folder / "base" / "config.json").read_text(encoding="utf-8"))["vocab_size"]
        rows = draw_rows(BATCH * STEPS, vocabulary)
        write_tokens(folder / "tokens", rows)
        (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
        for _ in range(options.rounds):
            for side, found in peaks.items():
                found.append(measure(folder, side))
                print(f"{side:32} {found[-1] / 2**20:7.0f} MiB", flush=True)
    least = {side: min(found) for side, found in peaks.items()}
    result = {
        "parameters": parameters, "rows_of_a_batch": BATCH, "steps": STEPS, "longest_row": max(len(i) for i, _ in rows),
        "tokens": sum(len(ids) for ids, _ in rows), "rounds": options.rounds,
        "peak_mib": {side: [peak >> 20 for peak in found] for side, found in peaks.items()},
        "ratio": {side: round(least["ours"] / peak, 2) for side, peak in least.items()},
    }  # fmt: skip
    print("\nOurs against each, goal at most 1.0:", json.dumps(result["ratio"]))
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
