"""What a run of the task catalogue leaves behind, small but in the real files' shapes, for tests of the registry."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.run_output import DATASET_INFO, TRAINING_INFO, TRAINING_LOG
from support.small_tokenizers import byte_level

from components.core.recipe import RegistryConfig
from components.core.settings import Settings

CATALOGUE = {
    "single_label": "classification_single_label",
    "multi_label": "classification_multi_label",
    "regression": "regression",
    "ner": "ner",
}
LABELS = {
    "single_label": ["bad", "/home/somebody/good", "so so"],
    "multi_label": ["clean", "kind", "loud"],
    "regression": [],
    "ner": ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"],
}
_SCALE = {"mean": 3.0, "std": 1.5, "minimum": 1.0, "maximum": 5.0}
MAX_TOKENS = 48


@dataclass
class HeadOutput:
    """The folders and values that `publish_head` and `register_head` take."""

    model_dir: Path
    evaluation_dir: Path
    preprocess_dir: Path
    registry: RegistryConfig
    settings: Settings

    def inputs(self) -> tuple[Path, Path, Path, RegistryConfig, Settings]:
        """Arguments in the order in which the registry takes them."""
        return (self.model_dir, self.evaluation_dir, self.preprocess_dir, self.registry, self.settings)


def write_head_run(
    folder: Path, task: str = "single_label", adapter: bool = False, pair: bool = False, seed: int = 0, **settings: Any
) -> HeadOutput:
    """Write the three folders of a run; another seed gives other weights, and so another model."""
    model_dir, evaluation_dir, preprocess_dir = folder / "model", folder / "evaluation", folder / "preprocess"
    for part in (model_dir, evaluation_dir, preprocess_dir):
        part.mkdir(parents=True)
    _write_weights(model_dir, task, adapter, seed, folder / "base")
    write_head_evaluation(evaluation_dir, task)
    head = {
        "format": 1,
        "task": task,
        "labels": LABELS[task],
        "thresholds": [0.2, 0.9, 0.45] if task == "multi_label" else None,
        "scale": _SCALE if task == "regression" else None,
        "columns": _columns(task, pair),
        "max_seq_length": MAX_TOKENS,
        "pad_token_id": 1,
        "token_type_ids": False,
        "pair_joiner": "\n" if pair else None,
    }
    _write_json(model_dir / "head.json", head)
    arguments = {
        "format": 1,
        "task": task,
        "catalogue_task": CATALOGUE[task],
        "parameters": {"max_seq_length": -1, "batch_size": 1000},
        "columns": head["columns"],
        "max_seq_length": MAX_TOKENS,
        "model": {"id": "starter", "revision": "starter", "weights_sha256": "e" * 64},
        "dataset": {"id": "/home/somebody/reviews.csv", "revision": "", "fingerprint": "c" * 64, "license": "mit"},
        "fingerprint": "f" * 64,
    }
    for place in (model_dir, preprocess_dir):
        _write_json(place / "preprocess_args.json", arguments)
    parameters = {"learning_rate": 5e-5, "deepspeed": "/home/somebody/ds/zero.json"}
    _write_json(model_dir / "finetune_args.json", {"format": 1, "task": task, "parameters": parameters})
    info = TRAINING_INFO | {"task": task, "method": "lora" if adapter else "full", "distributed": "none"}
    info |= {"base_model_id": str(preprocess_dir / "pretrained_model"), "world_size": 1, "runtime": "pytorch"}
    _write_json(model_dir / "training_info.json", info)
    log = "".join(f"{json.dumps(point)}\n" for point in TRAINING_LOG)
    (model_dir / "training_log.jsonl").write_text(log, encoding="utf-8")
    _write_json(preprocess_dir / "dataset_info.json", DATASET_INFO)
    (preprocess_dir / "report.html").write_text("<h1>Data</h1>", encoding="utf-8")
    made = Settings(**({"whetstone_home": folder / "home"} | settings))
    return HeadOutput(model_dir, evaluation_dir, preprocess_dir, RegistryConfig(), made)


def write_head_evaluation(folder: Path, task: str, outcome: str = "better") -> None:
    """Write evaluation.json and its report: base, bag of words and tuned model on one metric."""
    passed = outcome == "better"
    metric = "mae" if task == "regression" else "f1_macro"
    values = {"base": 0.1, "bag_of_words": 0.4, "tuned": 0.62}
    scores = {name: {metric: {"value": v, "low": v - 0.02, "high": v + 0.02}} for name, v in values.items()}
    gap = {"value": 0.22, "low": 0.19, "high": 0.25, "changed": 300}
    evaluation = {
        "task": task,
        "metrics": [metric],
        "gate_metric": metric,
        "confidence": 0.95,
        "rows": 1000,
        "contexts": 990,
        "slices": {
            "all": {
                "rows": 1000,
                "scores": scores,
                "differences": {name: {metric: gap} for name in ("base", "bag_of_words")},
            }
        },
        "values": {"tuned": {metric: 0.62, "auc": None, "accuracy": 0.8}},
        "verdict": {
            "status": "passed" if passed else "refused",
            "outcome": outcome,
            "headline": "PASSED: better than the majority" if passed else f"REFUSED: {outcome}",
            "reasons": ["better" if passed else outcome],
        },
        "notes": ["One label has 3 test rows."],
        "dataset_fingerprint": DATASET_INFO["fingerprint"],
    }
    _write_json(folder / "evaluation.json", evaluation)
    (folder / "report.html").write_text("<h1>Evaluation</h1>", encoding="utf-8")


def _columns(task: str, pair: bool) -> dict[str, str]:
    if task == "ner":
        return {"tokens": "words", "ner_tags": "tags"}
    target = {"single_label": "label", "multi_label": "labels", "regression": "score"}[task]
    return {"text": "review"} | ({"text_pair": "reply"} if pair else {}) | {target: "target"}


def _write_weights(folder: Path, task: str, adapter: bool, seed: int, base: Path) -> None:
    """A tiny random Llama with a head, whole or as an adapter on a base of its own, and its tokenizer."""
    import torch
    from transformers import (
        LlamaConfig,
        LlamaForCausalLM,
        LlamaForSequenceClassification,
        LlamaForTokenClassification,
        set_seed,
    )

    tokenizer = byte_level()
    tokenizer.pad_token = "<|im_end|>"
    tokenizer.save_pretrained(folder)
    set_seed(seed)
    labels = LABELS[task]
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.5,
        pad_token_id=tokenizer.pad_token_id,
    )
    kind = LlamaForTokenClassification if task == "ner" else LlamaForSequenceClassification
    if not adapter:
        config.id2label = dict(enumerate(labels)) or {0: "LABEL_0"}
        config.label2id = {label: number for number, label in config.id2label.items()}
        model = kind(config)
        with torch.no_grad():
            model.score.weight.normal_()
        model.save_pretrained(folder)
        return
    from peft import LoraConfig, get_peft_model

    LlamaForCausalLM(config).save_pretrained(base)
    tuned = kind.from_pretrained(base, num_labels=len(labels) or 1)
    kind_of_task = "TOKEN_CLS" if task == "ner" else "SEQ_CLS"
    peft = get_peft_model(tuned, LoraConfig(task_type=kind_of_task, r=2, target_modules=["q_proj", "v_proj"]))
    peft.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False), encoding="utf-8")
