"""Tiny base models and preprocess folders for the tasks with a head, small enough to train in a second."""

import json
import random
from pathlib import Path

from components.core.heads.folders import PREPROCESS_ARGS_FILE, PRETRAINED_FOLDER, TOKENIZER_FOLDER
from components.core.heads.tokens import write_tokens
from components.core.tasks import get_head_task
from components.core.tasks.heads import Head, InputEncoder, Scale, write_head
from components.core.tasks.ner import tag_labels

WORDS = [f"w{number}" for number in range(56)]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
LABELS = ["high", "low", "middle"]


def write_tiny_bert(folder: Path, seed: int = 0, labels: int | None = None, layers: int = 1) -> Path:
    """A BERT of about 9,000 random weights with a word tokenizer; `labels` gives it a head of that width."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=60, hidden_size=32, intermediate_size=64, num_hidden_layers=layers, num_attention_heads=2,
        max_position_embeddings=64, initializer_range=0.2,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **({"num_labels": labels} if labels else {}),
    )  # fmt: skip
    (BertForSequenceClassification if labels else BertModel)(config).save_pretrained(folder)
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=64,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def head_rows(task: str, count: int, seed: int, longest: int = 14) -> list[dict]:
    """Rows that a tiny model learns at once: what they teach hangs on single words."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        words = [draw.choice(WORDS[6:]) for _ in range(draw.randint(2, longest))]
        marks = draw.sample(range(3), draw.randint(0, 3)) if task == "multi_label" else [draw.randrange(3)]
        for mark in marks:
            words.insert(draw.randint(0, len(words)), WORDS[mark])
        if task == "ner":
            tags = ["B-PLACE" if word in WORDS[:3] else "O" for word in words]
            rows.append({"tokens": words, "ner_tags": tags})
            continue
        learned = {
            "single_label": lambda marks: {"label": LABELS[marks[0]]},
            "multi_label": lambda marks: {"labels": [LABELS[mark] for mark in sorted(marks)]},
            "regression": lambda marks: {"score": 100.0 + 10.0 * marks[0]},
        }[task](marks)
        rows.append({"text": " ".join(words)} | learned)
    return rows


def tiny_head(task: str, base: Path, max_seq_length: int = 32) -> Head:
    """What a preprocessing would find in `head_rows`."""
    labels = {"regression": [], "ner": tag_labels(["PLACE"])}.get(task, LABELS)
    encoder = (base / "tokenizer.json").read_text().find("[CLS]") > 0
    return Head(
        task=task, labels=labels, columns={}, max_seq_length=max_seq_length, pad_token_id=0, token_type_ids=encoder,
        scale=Scale(mean=110.0, std=8.0, minimum=100.0, maximum=120.0) if task == "regression" else None,
        pair_joiner=None if encoder else "\n",
    )  # fmt: skip


def write_preprocessed(
    folder: Path, task: str, base: Path, train: int = 48, validation: int = 24, longest: int = 14, **parameters
) -> Path:
    """A folder as the preprocessing leaves it; `parameters` are those of the preprocessing."""
    import shutil

    folder.mkdir(parents=True)
    shutil.copytree(base, folder / PRETRAINED_FOLDER)
    (folder / TOKENIZER_FOLDER).mkdir()
    for path in base.glob("*token*.json"):
        shutil.copy(path, folder / TOKENIZER_FOLDER)
    head, found = tiny_head(task, base), get_head_task(task)
    write_head(head, folder)
    encoder = InputEncoder(folder / TOKENIZER_FOLDER, head)
    for split, count, seed in (("train", train, 1), ("validation", validation, 2)):
        rows = head_rows(task, count, seed, longest)
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        write_tokens(folder / f"{split}.arrow", rows, found, head, encoder, batch_size=100)
    arguments = {
        "format": 1, "task": task, "parameters": {"pad_to_max_length": False} | parameters,
        "model": {"id": str(base), "revision": "local", "weights_sha256": "0" * 64},
        "fingerprint": f"tiny-{task}-{train}-{validation}-{longest}-{sorted(parameters.items())}",
    }  # fmt: skip
    (folder / PREPROCESS_ARGS_FILE).write_text(json.dumps(arguments))
    return folder
