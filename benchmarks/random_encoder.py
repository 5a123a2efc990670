"""An encoder of MiniLM's shape (6 layers, 384 wide) with random weights, a vocabulary made here, and texts for it."""

import random
from pathlib import Path
from typing import Any

from components.core.tasks.heads import Head, write_head

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
