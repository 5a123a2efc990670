"""Our training loop against TRL's SFTTrainer, in turns, on the same rows: `python -m benchmarks.training_loop`.

The rows are question answering as it comes: lengths are skewed and only the few tokens of the answer carry loss. Every
contender starts from the same random weights and passes over all rows once, in batches of about as many tokens.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.core.recipe import LoraConfig, ModelConfig, TaskConfig, TrainingConfig
from components.core.settings import Settings
from components.core.training import finetune

RESULTS = Path(__file__).parent / "results" / "training_loop.json"
VOCABULARY = 8192
LONGEST = 512
BATCH_ROWS = 8
LEARNING_RATE = 2e-4

Row = tuple[list[int], int]
"""Token ids, and how many of them at the end are the answer."""


@dataclass(frozen=True)
class Turn:
    """One contender's pass over all rows."""

    train_seconds: float
    """The loop alone."""
    call_seconds: float
    """Everything from rows to a trained model: set-up, the loop, and for ours the written model folder."""
    cpu_seconds: float
    """Processor time of the call; unlike the clock it does not depend on what else the machine does."""
    loss: float
    """Mean loss per answer token on all rows afterwards, by one and the same function."""


def draw_rows(count: int, seed: int) -> list[Row]:
    """Rows of 20 to 512 tokens, lognormal, whose answers of 2 to 8 tokens come from a small vocabulary."""
    draw = np.random.default_rng(seed)
    lengths = np.clip(draw.lognormal(4.6, 0.7, count).astype(int), 20, LONGEST)
    rows = []
    for length in lengths:
        answer = int(draw.integers(2, 9))
        prompt = draw.integers(100, VOCABULARY, length - answer)
        rows.append(([*prompt.tolist(), *draw.integers(0, 50, answer).tolist()], answer))
    return rows


def write_base_model(folder: Path, layers: int, hidden: int) -> int:
    """A Llama of random weights with a tokenizer that only stands in; gives the number of parameters."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=hidden, intermediate_size=hidden * 8 // 3, num_hidden_layers=layers,
            num_attention_heads=hidden // 64, num_key_value_heads=hidden // 64, max_position_embeddings=1024,
            tie_word_embeddings=True, pad_token_id=0, eos_token_id=0, bos_token_id=0,
        )
    )  # fmt: skip
    model.save_pretrained(folder)
    words = Tokenizer(models.WordLevel({f"t{number}": number for number in range(VOCABULARY)}, unk_token="t0"))
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="t0", pad_token="t0").save_pretrained(folder)
    return int(model.num_parameters())


def write_tokens(folder: Path, rows: list[Row]) -> None:
    """The rows as our tokenization leaves them."""
    folder.mkdir()
    column = pa.list_(pa.int32())
    schema = pa.schema([("input_ids", column), ("labels", column), ("seq_lengths", column)])
    for split, kept in (("train", rows), ("validation", [])):
        labels = [[-100] * (len(ids) - answer) + ids[-answer:] for ids, answer in kept]
        values = [[ids for ids, _ in kept], labels, [[len(ids)] for ids, _ in kept]]
        with pa.OSFile(str(folder / f"{split}.arrow"), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            writer.write_batch(pa.record_batch([pa.array(value, column) for value in values], schema=schema))
    (folder / "tokens_info.json").write_text(json.dumps({"fingerprint": "benchmark"}))
    prompt = {"template": "{context} {question}", "chat_template": False, "no_answer_text": "no"}
    (folder / "prompt.json").write_text(json.dumps(prompt))


def answer_loss(model: Any, rows: list[Row]) -> float:
    """Mean loss per answer token, one row at a time, in fp32."""
    import torch

    model = model.float().eval()
    total, tokens = 0.0, 0
    with torch.no_grad():
        for ids, answer in rows:
            logits = model(input_ids=torch.tensor([ids])).logits[0, -answer - 1 : -1]
            total += torch.nn.functional.cross_entropy(logits, torch.tensor(ids[-answer:]), reduction="sum").item()
            tokens += answer
    return total / tokens


def train_ours(work: Path, rows: list[Row], packed: bool, precision: str) -> Turn:
    """One turn of ours, full fine-tuning."""
    from transformers import AutoModelForCausalLM

    mean = sum(len(ids) for ids, _ in rows) / len(rows)
    training = TrainingConfig.model_validate(
        {
            "method": "full", "num_train_epochs": 1, "learning_rate": LEARNING_RATE, "lr_scheduler_type": "linear",
            "warmup_steps": 0, "precision": precision, "save_steps": 1.0 * 10**6,
            "per_device_train_batch_size": None if packed else BATCH_ROWS,
            "tokens_per_batch": round(BATCH_ROWS * mean),
        }
    )  # fmt: skip
    output = Path(tempfile.mkdtemp(dir=work))
    began, began_cpu = time.perf_counter(), time.process_time()
    result = finetune(
        TaskConfig(), ModelConfig(model_id=str(work / "base")), training, LoraConfig(), work / "tokens", output,
        Settings(whetstone_home=work / "home"),
    )  # fmt: skip
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - began_cpu
    tokens = sum(len(ids) for ids, _ in rows)
    model = AutoModelForCausalLM.from_pretrained(output)
    return Turn(tokens / result.tokens_per_second, seconds, cpu_seconds, answer_loss(model, rows))


def train_trl(work: Path, rows: list[Row], **options: Any) -> Turn:
    """One turn of SFTTrainer; what is not in `options` is as it comes, but for reports and saving."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    dataset = Dataset.from_dict(
        {
            "input_ids": [ids for ids, _ in rows],
            "completion_mask": [[0] * (len(ids) - answer) + [1] * answer for ids, answer in rows],
        }
    )
    began, began_cpu = time.perf_counter(), time.process_time()
    config = SFTConfig(
        output_dir=str(work / "trl"), num_train_epochs=1, learning_rate=LEARNING_RATE, completion_only_loss=True,
        report_to="none", save_strategy="no", disable_tqdm=True, use_cpu=True, **options,
    )  # fmt: skip
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(work / "base"), args=config, train_dataset=dataset,
        processing_class=AutoTokenizer.from_pretrained(work / "base"),
    )  # fmt: skip
    outcome = trainer.train()
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - began_cpu
    return Turn(outcome.metrics["train_runtime"], seconds, cpu_seconds, answer_loss(trainer.model, rows))


def contenders(work: Path, rows: list[Row]) -> dict[str, Callable[[], Turn]]:
    """Everyone who takes a turn, by name."""
    tuned = {"bf16": False, "gradient_checkpointing": False}
    # packs of 512 tokens, as many as hold what 8 rows hold
    packs = max(1, round(BATCH_ROWS * sum(len(ids) for ids, _ in rows) / len(rows) / LONGEST))
    packing = {"packing": True, "max_length": LONGEST, "per_device_train_batch_size": packs}
    return {
        "ours": lambda: train_ours(work, rows, packed=False, precision="auto"),
        "ours_16": lambda: train_ours(work, rows, packed=False, precision="16"),
        "trl": lambda: train_trl(work, rows),
        "trl_tuned": lambda: train_trl(work, rows, **tuned),
        "ours_packed": lambda: train_ours(work, rows, packed=True, precision="auto"),
        "trl_packed": lambda: train_trl(work, rows, **tuned, **packing),
    }


GOALS = [("ours", "trl", 4.0), ("ours", "trl_tuned", 2.0), ("ours_packed", "trl_packed", 1.1), ("ours_16", "trl", 4.0)]


def measure(rows: list[Row], rounds: int, layers: int, hidden: int) -> dict[str, Any]:
    """Let everyone take its turns and compare."""
    from transformers import AutoModelForCausalLM

    tokens = sum(len(ids) for ids, _ in rows)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        parameters = write_base_model(work / "base", layers, hidden)
        write_tokens(work / "tokens", rows)
        before = answer_loss(AutoModelForCausalLM.from_pretrained(work / "base"), rows)
        # untimed: imports, and the first allocations of each
        for warm_up in contenders(work, rows[:16]).values():
            warm_up()
        turns: dict[str, list[Turn]] = {}
        for _ in range(rounds):
            for contender, take_turn in contenders(work, rows).items():
                turns.setdefault(contender, []).append(take_turn())
                print(f"{contender:12} {tokens / turns[contender][-1].train_seconds:8.0f} tokens/s", flush=True)
    # the fastest turn of each: what else the machine does only ever makes one slower
    found = {
        contender: {
            "tokens_per_second": tokens / min(turn.train_seconds for turn in taken),
            "tokens_per_second_of_the_call": tokens / min(turn.call_seconds for turn in taken),
            "tokens_per_cpu_second": tokens / min(turn.cpu_seconds for turn in taken),
            "loss_after": statistics.mean(turn.loss for turn in taken),
        }
        for contender, taken in turns.items()
    }
    ratios = [
        {
            "ours": ours,
            "peer": peer,
            "goal": goal,
            "ratio": found[ours]["tokens_per_second"] / found[peer]["tokens_per_second"],
            "cpu_ratio": found[ours]["tokens_per_cpu_second"] / found[peer]["tokens_per_cpu_second"],
        }
        for ours, peer, goal in GOALS
    ]
    return {
        "rows": len(rows), "tokens": tokens, "parameters": parameters, "rounds": rounds, "loss_before": before,
        "contenders": found, "ratios": ratios,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--hidden", type=int, default=256)
    options = parser.parse_args()
    results = measure(draw_rows(options.rows, seed=0), options.rounds, options.layers, options.hidden)
    print(f"\n{results['parameters'] / 1e6:.1f}M parameters, {results['rows']} rows, {results['tokens']} tokens")
    columns = ("tokens_per_second", "tokens_per_second_of_the_call", "tokens_per_cpu_second", "loss_after")
    print(f"{'':12} {'tokens/s':>9} {'whole call':>11} {'per CPU s':>10} {'loss':>7}")
    for name, found in results["contenders"].items():
        speed, call, cpu, loss = (found[column] for column in columns)
        print(f"{name:12} {speed:9.0f} {call:11.0f} {cpu:10.0f} {loss:7.3f}")
    print(f"Loss before: {results['loss_before']:.3f}")
    for ratio in results["ratios"]:
        found = f"{ratio['ratio']:.2f}x (goal {ratio['goal']}x), by CPU time {ratio['cpu_ratio']:.2f}x"
        print(f"{ratio['ours']} / {ratio['peer']}: {found}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"written to {RESULTS}")


if __name__ == "__main__":
    main()
