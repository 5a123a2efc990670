"""What one training run leaves behind, small but in the real files' shapes, for tests of the registry."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.recipe import Recipe, RegistryConfig
from components.core.settings import Settings

PROMPT = {
    "template": "Context: {context}\nQuestion: {question}\nAnswer:",
    "chat_template": False,
    "no_answer_text": "not in the context",
}

DATASET_INFO: dict[str, Any] = {
    "fingerprint": "c" * 64,
    "revision": "",
    "license": "cc-by-4.0",
    "rows": {"train": 800, "test": 100},
}
TRAINING_INFO: dict[str, Any] = {
    "run_id": "20260102-030405-abcdef01",
    "finished": "2026-01-02T03:04:05+00:00",
    "git_commit": "0123abc",
    "base_model_id": "/home/somebody/models/starter",
    "base_model_revision": "starter",
    "base_weights_sha256": "e" * 64,
    "method": "lora",
    "steps": 20,
    "train_loss": 2.0,
    "validation_loss": 1.75,
    "tokens_per_second": 1000.0,
    "peak_memory_bytes": 10**9,
    "seconds": 12.5,
    "resumed_from_step": None,
    "trainable_parameters": 1024,
    "total_parameters": 4096,
    "device": "cpu",
    "precision": "fp32",
    "notes": [],
}
TRAINING_LOG = [
    {"step": 10, "loss": 2.5, "learning_rate": 2e-4},
    {"step": 20, "loss": 1.5, "learning_rate": 1e-4},
    {"step": 20, "validation_loss": 1.75},
]


@dataclass
class RunOutput:
    """The folders and values that `publish` and `register` take."""

    model_dir: Path
    evaluation_dir: Path
    dataset_dir: Path
    recipe: dict[str, Any]
    registry: RegistryConfig
    settings: Settings

    def inputs(self) -> tuple[Path, Path, Path, RegistryConfig, dict[str, Any], Settings]:
        """Arguments in the order in which the registry takes them."""
        return (self.model_dir, self.evaluation_dir, self.dataset_dir, self.registry, self.recipe, self.settings)


def write_run(folder: Path, outcome: str = "better", fill: float = 0.5, **settings: Any) -> RunOutput:
    """Write the three folders of a run; another `fill` gives other weights, and so another model."""
    model_dir, evaluation_dir, dataset_dir = folder / "tuned", folder / "evaluation", folder / "dataset"
    for part in (model_dir, evaluation_dir, dataset_dir):
        part.mkdir(parents=True)
    _write_model(model_dir, fill)
    write_evaluation(evaluation_dir, outcome)
    _write_json(dataset_dir / "dataset_info.json", DATASET_INFO)
    (dataset_dir / "report.html").write_text("<h1>Data</h1>", encoding="utf-8")
    # as a pipeline hands it over: without nulls, and whole numbers as floats
    recipe = Recipe().model_dump(mode="json", exclude_none=True)
    recipe["training"]["num_train_epochs"] = 2.0
    home = {"whetstone_home": folder / "home"}
    made = Settings(**(home | settings))
    return RunOutput(model_dir, evaluation_dir, dataset_dir, recipe, RegistryConfig(), made)


def write_evaluation(folder: Path, outcome: str = "better") -> None:
    """Write evaluation.json and its report: what the registry reads of them, and one key more."""
    passed = outcome == "better"
    base, tuned = _score(0.40), _score(0.62)
    gap = {"value": 0.22, "low": 0.19, "high": 0.25, "changed": 300}
    gaps = {"f1": gap, "exact_match": gap}
    scores = {"base": {"f1": base, "exact_match": base}, "tuned": {"f1": tuned, "exact_match": tuned}}
    evaluation = {
        "task": "context_qa",
        "metrics": ["f1", "exact_match"],
        "gate_metric": "f1",
        "confidence": 0.95,
        "rows": 1000,
        "contexts": 500,
        "slices": {"all": {"rows": 1000, "scores": scores, "differences": {"base": gaps}}},
        "verdict": {
            "status": "passed" if passed else "refused",
            "outcome": outcome,
            "headline": "PASSED: F1 of the tuned model is better" if passed else f"REFUSED: {outcome}",
            "reasons": ["F1 of the tuned model is better" if passed else outcome],
            "warnings": [],
        },
        "notes": [],
        "dataset_fingerprint": DATASET_INFO["fingerprint"],
        "seconds": 2.0,
    }
    _write_json(folder / "evaluation.json", evaluation)
    (folder / "report.html").write_text("<h1>Evaluation</h1>", encoding="utf-8")


def _score(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.02, "high": value + 0.02}


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")


def _write_model(folder: Path, fill: float) -> None:
    import numpy
    from safetensors.numpy import save_file

    save_file({"weight": numpy.full((4, 4), fill, dtype=numpy.float32)}, folder / "model.safetensors")
    config = {"architectures": ["LlamaForCausalLM"], "_name_or_path": "/home/somebody/models/starter"}
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", {"do_sample": False})
    _write_json(folder / "tokenizer.json", {"version": "1.0", "model": {"vocab": {"/usr/bin": 0}}})
    _write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    write_training_facts(folder)


def write_training_facts(folder: Path, **changed: Any) -> None:
    """Write prompt, training log and training facts beside weights."""
    _write_json(folder / "prompt.json", PROMPT)
    _write_json(folder / "training_info.json", TRAINING_INFO | changed)
    lines = "".join(f"{json.dumps(point)}\n" for point in TRAINING_LOG)
    (folder / "training_log.jsonl").write_text(lines, encoding="utf-8")


WORDS = "Context Question Answer : The bridge was opened in 1932 . When the ? user assistant"
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<s>' + m['role'] + ' : ' + m['content'] + '</s>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s>assistant : ' }}{% endif %}"
)


def write_llama(folder: Path, words: str = WORDS, chat: bool = False) -> None:
    """Write a tiny random Llama with a tokenizer that knows these words, with or without a chat template."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    names = ["<s>", "</s>", "<unk>", *dict.fromkeys(words.split())]
    backend = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(names),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>"
    )
    if chat:
        tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
