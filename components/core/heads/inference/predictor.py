"""A trained head that is ready to predict, in PyTorch or through ONNX Runtime."""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from components.core.errors import ConfigError, StorageError, TrainingError
from components.core.heads.batches import Batch, pad, plan_by_length
from components.core.heads.folders import ONNX_FILE, ONNX_INFO_FILE, ONNX_INT8_FILE
from components.core.recipe import ModelConfig
from components.core.registry.base_model import resolve_model
from components.core.registry.facts import read_json
from components.core.registry.manifest import hash_file
from components.core.settings import Settings
from components.core.tasks import HeadTask, Row, get_head_task
from components.core.tasks.heads import HEAD_FILE, Head, InputEncoder, Prediction, gather_outputs, read_head

logger = logging.getLogger(__name__)

Runtime = Literal["auto", "pytorch", "onnxruntime"]
Weights = Literal["fp32", "int8"]
TOKENS_PER_BATCH = {"cpu": 1024, "cuda": 32_768, "onnxruntime": 512}
"""Tokens of one forward pass, padding counted: on a CPU what its caches hold, on a GPU what fills it."""
_ADAPTER_CONFIG = "adapter_config.json"
_REMEDY = "Run the fine-tuning again."


@dataclass(frozen=True)
class Predictor:
    """One model."""

    head: Head
    encoder: InputEncoder
    runtime: Literal["pytorch", "onnxruntime"]
    weights: Weights
    model_sha256: str
    """Over weights, head.json and tokenizer.json, and the exported file where that is what computes."""
    tokens_per_batch: int
    run: Callable[[Batch], npt.NDArray[Any]]
    """Outputs of padded inputs: shape (inputs, k), or (inputs, tokens, k) for words."""


class Predicted(NamedTuple):
    """Predictions of some rows."""

    predictions: list[Prediction]
    cut: list[bool]
    """By row: its text was longer than the model reads."""


def open_predictor(
    model_dir: Path, settings: Settings, runtime: Runtime = "auto", weights: Weights = "fp32"
) -> Predictor:
    """Load a trained model folder.

    Args:
        model_dir: What the fine-tuning wrote, or a published model folder.
        settings: For the download of an adapter's base.
        runtime: `auto` is ONNX Runtime where the folder holds an exported model.
        weights: int8 only where its gate passed it.

    Raises:
        StorageError: If the folder is not complete.
        ConfigError: If it cannot be run as asked for.
        TrainingError: If transformers cannot load the model.
    """
    if not model_dir.is_dir():
        raise StorageError(f"{model_dir} is not a folder. Name the folder that the fine-tuning wrote.")
    head = read_head(model_dir)
    chosen = _choose(model_dir, runtime, weights)
    task = get_head_task(head.task)
    encoder = InputEncoder(model_dir, head)
    if chosen is None:
        run, device = _in_pytorch(model_dir, task, head, settings)
        logger.info("Predicting in PyTorch on %s", device)
        return Predictor(head, encoder, "pytorch", "fp32", _hash_model(model_dir, None), TOKENS_PER_BATCH[device], run)
    from components.core.heads.onnx.session import open_session
    from components.core.heads.onnx.session import run as run_session

    session = open_session(chosen)
    return Predictor(
        head, encoder, "onnxruntime", weights, _hash_model(model_dir, chosen), TOKENS_PER_BATCH["onnxruntime"],
        lambda batch: run_session(session, batch),
    )  # fmt: skip


def predict(predictor: Predictor, task: HeadTask, rows: Sequence[Row]) -> list[Prediction]:
    """Predictions of rows that have the task's inputs, in their order."""
    return predict_rows(predictor, task, rows).predictions


def predict_rows(predictor: Predictor, task: HeadTask, rows: Sequence[Row]) -> Predicted:
    """Like `predict`, and which rows were cut.

    Raises:
        TrainingError: If an output is not a number.
    """
    if not rows:
        return Predicted([], [])
    encoded = task.encode(rows, predictor.encoder)
    outputs: list[npt.NDArray[Any]] = [np.empty(0)] * len(encoded.pieces)
    lengths = [len(piece.input_ids) for piece in encoded.pieces]
    for places in plan_by_length(lengths, predictor.tokens_per_batch):
        pieces = [encoded.pieces[place] for place in places]
        batch = pad([piece.input_ids for piece in pieces], [piece.token_type_ids for piece in pieces], predictor.head)
        found = predictor.run(batch)
        for place, values in zip(places, found, strict=True):
            # of words, without the padding behind them
            outputs[place] = values[: lengths[place]] if values.ndim > 1 else values
    broken = {piece.row for piece, values in zip(encoded.pieces, outputs, strict=True) if not np.isfinite(values).all()}
    if broken:
        raise TrainingError(
            f"the model's outputs for {len(broken)} of {len(rows)} rows are not numbers: training has diverged. Train "
            "again with a lower learning_rate, or with precision=32."
        )
    return Predicted(task.read_out(gather_outputs(encoded, outputs, predictor.head), rows, predictor.head), encoded.cut)


def _choose(model_dir: Path, runtime: Runtime, weights: Weights) -> Path | None:
    """The exported model that is to be run; None for PyTorch."""
    exported = model_dir / ONNX_FILE
    if weights == "int8":
        if runtime == "pytorch":
            raise ConfigError("weights=int8: runs through ONNX Runtime only. Set runtime=onnxruntime.")
        verdict = _int8_verdict(model_dir)
        if verdict:
            raise ConfigError(f"weights=int8: {verdict}. Set weights=fp32.")
        return model_dir / ONNX_INT8_FILE
    if runtime == "onnxruntime" and not exported.is_file():
        raise ConfigError(
            f"runtime=onnxruntime: {model_dir} holds no {ONNX_FILE}. Fine-tune with apply_ort=true, or set "
            "runtime=pytorch."
        )
    return exported if runtime != "pytorch" and exported.is_file() else None


def _int8_verdict(model_dir: Path) -> str:
    """Why int8 weights must not be used; empty where they may."""
    if not (model_dir / ONNX_INT8_FILE).is_file() or not (model_dir / ONNX_INFO_FILE).is_file():
        return f"{model_dir} holds no int8 weights that passed (fine-tune with apply_ort=true ort_quantization=int8)"
    found = read_json(model_dir / ONNX_INFO_FILE, _REMEDY).get("int8") or {}
    return "" if found.get("passed") is True else f"they did not pass their gate ({found.get('reason', 'not judged')})"


def _in_pytorch(
    model_dir: Path, task: HeadTask, head: Head, settings: Settings
) -> tuple[Callable[[Batch], npt.NDArray[Any]], Literal["cpu", "cuda"]]:
    import torch

    from components.core.heads.training.model import load_trained

    if not any(model_dir.glob("*.safetensors")):
        raise StorageError(f"{model_dir} holds no safetensors weights. {_REMEDY}")
    adapter = (model_dir / _ADAPTER_CONFIG).is_file()
    base = _base_of(model_dir, settings) if adapter else model_dir
    device: Literal["cpu", "cuda"] = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_trained(model_dir, base, task, head, lora=adapter, merge=adapter).to(device).eval()

    def run(batch: Batch) -> npt.NDArray[Any]:
        with torch.inference_mode():
            logits = model(**{name: torch.from_numpy(values).to(device) for name, values in batch.items()}).logits
        found: npt.NDArray[Any] = logits.float().cpu().numpy()
        return found

    return run, device


def _base_of(model_dir: Path, settings: Settings) -> Path:
    config = read_json(model_dir / _ADAPTER_CONFIG, _REMEDY)
    name = str(config.get("base_model_name_or_path") or "")
    if not name:
        raise StorageError(f"{model_dir / _ADAPTER_CONFIG} names no base model. {_REMEDY}")
    return resolve_model(ModelConfig(model_id=name, revision=config.get("revision")), settings).path


def _hash_model(model_dir: Path, exported: Path | None) -> str:
    """Hash of everything that decides the predictions."""
    files = {HEAD_FILE, "tokenizer.json", "config.json", _ADAPTER_CONFIG}
    files |= {path.name for path in model_dir.glob("*.safetensors")} | ({exported.name} if exported else set())
    found = {name: hash_file(model_dir / name) for name in sorted(files) if (model_dir / name).is_file()}
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()
