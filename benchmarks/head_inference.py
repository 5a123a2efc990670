"""Batch inference of a classification head against transformers' own pipeline, on 5,000 rows of mixed lengths.

python -m benchmarks.head_inference

Peer: `transformers.pipeline("text-classification", batch_size=16)` on the same weights in the same process, with the
same threads. An encoder of MiniLM's shape (6 layers, 384 wide) with random weights and a vocabulary made here.
"""

import argparse
import json
import random
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from components.core.heads.inference import open_predictor, predict
from components.core.heads.onnx import export_onnx
from components.core.settings import Settings
from components.core.tasks import get_head_task
from components.core.tasks.heads import Head, write_head

RESULTS = Path(__file__).parent / "results" / "head_inference.json"
LABELS = [f"class{number}" for number in range(20)]


def make_rows(count: int) -> list[dict[str, Any]]:
    """Texts with lengths like those of user messages: most are short, a few are long."""
    draw = random.Random(0)
    words = [
        f"{a}{b}{c}" for a in ("ka", "lo", "mi", "ru", "te") for b in ("na", "ri", "so", "vu") for c in ("l", "n", "s")
    ]
    rows = []
    for number in range(count):
        length = min(200, max(3, round(draw.lognormvariate(2.7, 0.9))))
        rows.append(
            {"text": " ".join(draw.choice(words) for _ in range(length)), "label": LABELS[number % len(LABELS)]}
        )
    return rows


def make_model(folder: Path, rows: list[dict[str, Any]]) -> None:
    """The encoder, its tokenizer and head.json."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    torch.manual_seed(0)
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(
        (row["text"] for row in rows), trainers.WordPieceTrainer(vocab_size=2000, special_tokens=special)
    )
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    fast: Any = PreTrainedTokenizerFast
    fast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=256,
    ).save_pretrained(folder)  # fmt: skip
    config = BertConfig(
        vocab_size=30_522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536,
        max_position_embeddings=512, num_labels=len(LABELS), id2label=dict(enumerate(LABELS)),
        label2id={label: number for number, label in enumerate(LABELS)}, initializer_range=0.05,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    head = Head(task="single_label", labels=LABELS, columns={}, max_seq_length=256, pad_token_id=0, token_type_ids=True)
    write_head(head, folder)


def main() -> None:
    """Measure in turn, print the ratios, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    from transformers import pipeline

    rows = make_rows(given.rows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(folder, rows)
        export_onnx(folder, rows[:200], "int8", Settings())
        task = get_head_task("single_label")
        ours = {runtime: open_predictor(folder, Settings(), runtime) for runtime in ("pytorch", "onnxruntime")}
        peer = pipeline("text-classification", model=str(folder), tokenizer=str(folder), batch_size=16, device="cpu")
        texts = [row["text"] for row in rows]

        def ask_peer() -> list[str]:
            return [each["label"] for each in peer(texts, truncation=True)]

        def ask_ours(runtime: str) -> list[str]:
            return [each["label"] for each in predict(ours[runtime], task, rows)]

        contenders = {
            "pipeline": ask_peer,
            "pytorch": lambda: ask_ours("pytorch"),
            "onnxruntime": lambda: ask_ours("onnxruntime"),
        }
        seconds: dict[str, list[float]] = {contender: [] for contender in contenders}
        labels: dict[str, list[str]] = {}
        for _ in range(given.rounds):
            for contender, ask in contenders.items():
                started = time.perf_counter()
                labels[contender] = ask()  # type: ignore[no-untyped-call]
                seconds[contender].append(time.perf_counter() - started)
                print(f"  {contender:<12} {given.rows / seconds[contender][-1]:8.0f} rows/s", flush=True)
    speed = {contender: given.rows / median(values) for contender, values in seconds.items()}
    same = {
        contender: sum(a == b for a, b in zip(labels["pipeline"], found, strict=True)) / given.rows
        for contender, found in labels.items()
    }
    result = {
        "rows": given.rows,
        "rounds": given.rounds,
        "rows_per_second": {contender: round(value, 1) for contender, value in speed.items()},
        "pytorch_over_pipeline": round(speed["pytorch"] / speed["pipeline"], 2),
        "onnxruntime_over_pipeline": round(speed["onnxruntime"] / speed["pipeline"], 2),
        "onnxruntime_over_pytorch": round(speed["onnxruntime"] / speed["pytorch"], 2),
        "same_labels_as_pipeline": same,
    }
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
