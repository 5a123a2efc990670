"""Training steps on one GPU at the shapes of real models, ours against TRL's: `python -m benchmarks.gpu_training`.

Random weights in the shapes of Phi-3-mini and Llama-3.2-1B, LoRA and all weights, conversations of skewed lengths in
batches of 4,096 tokens. TRL trains as it comes, and tuned: packed, without recomputing activations. Each side is a
process of its own. The share of the peak holds the arithmetic of a step (6 operations a weight and token; 4 and those
of the adapter where the base is frozen) against a large bf16 product measured on the same device.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.chat_memory import draw_rows, write_tokens
from benchmarks.fixed_answer import ROOT

RESULT = ROOT / "benchmarks" / "results" / "gpu_training.json"
LONGEST, R, ALPHA = 4096, 16, 32
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "phi-3-mini": ("phi3", {"vocab_size": 32064, "hidden_size": 3072, "intermediate_size": 8192,
                            "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32}),
    "llama-3.2-1b": ("llama", {"vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 8192,
                               "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8,
                               "tie_word_embeddings": True}),
    "tiny": ("llama", {"vocab_size": 512, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
                       "num_attention_heads": 4, "num_key_value_heads": 2}),
}  # fmt: skip
"""Model type and configuration; `tiny` tries the benchmark itself where there is no GPU."""
SIDES = {"ours": 0.0, "trl": 2.5, "trl_tuned": 1.1}
"""Who takes part, and how many times faster than it ours is meant to be."""


def write_base_model(folder: Path, shape: str) -> tuple[int, int]:
    """Random weights in bf16 with a tokenizer that only stands in; gives all parameters and those that multiply."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    kind, config = SHAPES[shape]
    settings = AutoConfig.for_model(
        kind, **config, max_position_embeddings=LONGEST, bos_token_id=1, eos_token_id=2, pad_token_id=0
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(settings, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    words = Tokenizer(models.WordLevel({f"t{n}": n for n in range(config["vocab_size"])}, unk_token="t0"))
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="t2", pad_token="t0").save_pretrained(folder)
    looked_up = 0 if config.get("tie_word_embeddings") else config["vocab_size"] * config["hidden_size"]
    return model.num_parameters(), model.num_parameters() - looked_up


def train_ours(folder: Path, method: str) -> dict[str, float]:
    """One epoch of ours with its defaults."""
    from components.core.recipe import LoraConfig, ModelConfig, TaskConfig, TrainingConfig
    from components.core.settings import Settings
    from components.core.training import finetune

    training = TrainingConfig.model_validate(
        {"method": method, "num_train_epochs": 1, "tokens_per_batch": LONGEST, "save_steps": 10**6,
         "learning_rate": 2e-5}
    )  # fmt: skip
    output = Path(tempfile.mkdtemp(dir=folder))
    result = finetune(
        TaskConfig(), ModelConfig(model_id=str(folder / "base")), training, LoraConfig(r=R, alpha=ALPHA),
        folder / "tokens", output, Settings(whetstone_home=output / "home"),
    )  # fmt: skip
    return {"tokens_per_second": result.tokens_per_second, "loss": result.train_loss}


def train_trl(folder: Path, method: str, tuned: bool) -> dict[str, float]:
    """One epoch of SFTTrainer: as it comes, or packed and without recomputing."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    rows = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
    mean = sum(len(ids) for ids, _ in rows) / len(rows)
    options: dict[str, Any] = (
        {"packing": True, "max_length": LONGEST, "per_device_train_batch_size": 1, "activation_checkpointing": False}
        if tuned
        else {"max_length": LONGEST, "per_device_train_batch_size": max(1, round(LONGEST / mean))}
    )
    config = SFTConfig(
        output_dir=tempfile.mkdtemp(dir=folder), num_train_epochs=1, learning_rate=2e-5, completion_only_loss=True,
        report_to="none", save_strategy="no", disable_tqdm=True, use_cpu=not torch.cuda.is_available(), **options,
    )  # fmt: skip
    adapter = LoraConfig(task_type="CAUSAL_LM", r=R, lora_alpha=ALPHA, target_modules="all-linear")
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder / "base", dtype="auto"), args=config,
        train_dataset=Dataset.from_dict({"input_ids": [i for i, _ in rows], "completion_mask": [m for _, m in rows]}),
        processing_class=AutoTokenizer.from_pretrained(folder / "base"),
        peft_config=adapter if method == "lora" else None,
    )  # fmt: skip
    outcome = trainer.train()
    tokens = sum(len(ids) for ids, _ in rows)
    return {"tokens_per_second": tokens / outcome.metrics["train_runtime"], "loss": outcome.training_loss}


def matmul_peak() -> float:
    """Operations a second of a large product in bf16, the best of ten."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = 8192 if device == "cuda" else 512
    one = torch.randn(size, size, dtype=torch.bfloat16, device=device)
    best = float("inf")
    for _ in range(10):
        began = time.perf_counter()
        for _ in range(10):
            one @ one
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, (time.perf_counter() - began) / 10)
    return 2 * size**3 / best


def take_turn(folder: Path, side: str, method: str) -> dict[str, float]:
    """Train in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.gpu_training"]
    command += ["--folder", str(folder), "--side", side, "--methods", method]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"error: {side} ended with {done.returncode}\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(shape: str, methods: list[str], rows: int, rounds: int) -> list[dict[str, Any]]:
    """Everyone in turns on one shape; the fastest turn of each counts."""
    results = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        parameters, multiplied = write_base_model(folder / "base", shape)
        drawn = draw_rows(rows, int(SHAPES[shape][1]["vocab_size"]))
        write_tokens(folder / "tokens", drawn)
        (folder / "rows.json").write_text(json.dumps(drawn), encoding="utf-8")
        peak = matmul_peak()
        for method in methods:
            speed = dict.fromkeys(SIDES, 0.0)
            for _ in range(rounds):
                for side in SIDES:
                    speed[side] = max(speed[side], take_turn(folder, side, method)["tokens_per_second"])
                    print(f"{shape:13} {method:5} {side:10} {speed[side]:9.0f} tokens/s", flush=True)
            share = speed["ours"] * multiplied * (6 if method == "full" else 4) / peak
            ratios = {side: round(speed["ours"] / speed[side], 2) for side in SIDES if side != "ours"}
            results.append({"shape": shape, "method": method, "parameters": parameters, "rows": rows, "rounds": rounds,
                            "tokens_per_second": speed, "ratios": ratios, "matmul_peak": peak,
                            "share_of_peak": round(share, 3)})  # fmt: skip
            goals = ", ".join(f"{each}x over {side} (goal {SIDES[side]}x)" for side, each in ratios.items())
            print(f"{shape} {method}: {goals}; {100 * share:.0f} % of the measured matmul peak", flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description="Training steps on one GPU, ours against TRL's.")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["llama-3.2-1b", "phi-3-mini"])
    parser.add_argument("--methods", nargs="+", choices=["lora", "full"], default=["lora", "full"])
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        (method,) = options.methods
        ours = options.side == "ours"
        tuned = options.side == "trl_tuned"
        found = train_ours(options.folder, method) if ours else train_trl(options.folder, method, tuned)
        print(json.dumps(found))
        return
    import torch

    if not torch.cuda.is_available() and options.shapes != ["tiny"]:
        print("No GPU here, nothing was measured. `--shapes tiny` tries the benchmark itself.")
        return
    results = [
        each for shape in options.shapes for each in measure(shape, options.methods, options.rows, options.rounds)
    ]
    if options.shapes != ["tiny"]:
        RESULT.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
