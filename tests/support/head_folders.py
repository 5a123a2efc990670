"""Published model folders of the four tasks with a head: tiny, random, real files."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from components.core.tasks.heads import Head, Scale, write_head

Shape = Literal["bert", "llama"]

LABELS: dict[str, list[str]] = {
    "single_label": ["ham", "spam", "no idea"],
    "multi_label": ["anger", "joy", "fear", "calm"],
    "regression": [],
    "ner": ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"],
}
THRESHOLDS = [0.5, 0.35, 0.93, 0.62]
_WORDS = ("light", "keeper", "of", "the", "ada", "kept", "tern", "island", "new", "york", "##er", "##s", "##ing", ".")


def write_head_folder(
    folder: Path, task: str, shape: Shape = "bert", onnx: bool = False, seed: int = 0, max_seq_length: int = 24
) -> Path:
    """Write a whole model folder.

    Args:
        folder: Made here.
        task: Of the core.
        shape: bert reads both ways and marks pairs; llama reads forward and parts pairs by a line break.
        onnx: Also model.onnx.
        seed: Of the random weights.
        max_seq_length: Small, so that texts are cut.
    """
    folder.mkdir(parents=True)
    size = _write_tokenizer(folder, shape)
    bert = shape == "bert"
    pair = {} if task == "ner" else {"text_pair": "second"}
    texts = {"tokens": "words"} if task == "ner" else {"text": "first"}
    scale = Scale(mean=3.25, std=1.75, minimum=0, maximum=9) if task == "regression" else None
    head = Head(
        task=task,  # type: ignore[arg-type]
        labels=LABELS[task],
        thresholds=THRESHOLDS if task == "multi_label" else None,
        scale=scale,
        columns=texts | pair,
        max_seq_length=max_seq_length,
        pad_token_id=0,
        token_type_ids=bert,
        pair_joiner=None if bert or task == "ner" else "\n",
    )
    write_head(head, folder)
    model = build_model(head, shape, size, seed)
    model.save_pretrained(folder)
    if onnx:
        export(model, head, folder / "model.onnx")
    info = {"format": 1, "name": f"tiny-{task.replace('_', '-')}", "task": task, "method": "full", "base_model": {}}
    (folder / "model_info.json").write_text(json.dumps(info))
    write_manifest(folder)
    return folder


def build_model(head: Head, shape: Shape, size: int, seed: int, **changes: Any) -> Any:
    """A random transformers model of a head."""
    import torch
    import transformers

    torch.manual_seed(seed)
    kinds = {"single_label": "single_label_classification", "multi_label": "multi_label_classification"}
    common = {
        "vocab_size": size, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 512, "initializer_range": 0.4,
        "pad_token_id": head.pad_token_id, "num_labels": head.outputs,
        "problem_type": None if head.task == "ner" else kinds.get(head.task, "regression"),
    } | changes  # fmt: skip
    family = "Bert" if shape == "bert" else "Llama"
    config = getattr(transformers, f"{family}Config")(**common)
    kind = "ForTokenClassification" if head.task == "ner" else "ForSequenceClassification"
    model = getattr(transformers, f"{family}{kind}")(config).eval()
    return model


def export(model: Any, head: Head, path: Path) -> None:
    """Write an ONNX file with free numbers of inputs and tokens."""
    import torch

    names = ["input_ids", "attention_mask", *(["token_type_ids"] if head.token_type_ids else [])]
    example = [torch.ones((2, 9), dtype=torch.int64) for _ in names]
    free = {0: torch.export.Dim("inputs"), 1: torch.export.Dim("tokens")}

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *values: Any) -> Any:
            return self.model(**dict(zip(names, values, strict=True)), use_cache=None).logits

    torch.onnx.export(
        Logits().eval(), tuple(example), str(path), dynamo=True, input_names=names, output_names=["logits"],
        dynamic_shapes=(tuple(free for _ in names),), external_data=False, verbose=False,
    )  # fmt: skip


def write_manifest(folder: Path) -> None:
    """Size and hash of every file."""
    files = {
        path.name: {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in sorted(folder.iterdir())
        if path.name != "manifest.json"
    }
    content = hashlib.sha256(json.dumps(files).encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "files": files, "content_sha256": content}))


def _write_tokenizer(folder: Path, shape: Shape) -> int:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    if shape == "bert":
        letters = [chr(code) for code in range(97, 123)] + [*"0123456789-,'@"]
        words = [
            "[PAD]",
            "[UNK]",
            "[CLS]",
            "[SEP]",
            "[",
            "]",
            *letters,
            *(f"##{letter}" for letter in letters),
            *_WORDS,
        ]
        vocabulary = {text: number for number, text in enumerate(dict.fromkeys(words))}
        backend = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
        backend.normalizer = normalizers.BertNormalizer()
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    else:
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        vocabulary = {text: number for number, text in enumerate(["<pad>", "<s>", "</s>", *alphabet])}
        backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
        special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=512, **special).save_pretrained(folder)
    return len(vocabulary)
