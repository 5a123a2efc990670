"""The model that is trained, and the weights that come out of it."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

from components.core.errors import StorageError, TrainingError
from components.core.recipe import LoraConfig, ModelConfig, TrainingConfig
from components.core.registry.base_model import CONFIG_FILES, read_tokenizer
from components.core.training.hardware import Hardware
from components.core.training.quantization import is_quantized, merge_into_base, quantized_options

logger = logging.getLogger(__name__)

_STALE = ("*.safetensors", "*.safetensors.index.json", "adapter_config.json", "config.json", "training_info.json")


def load_base(folder: Path, training: TrainingConfig, hardware: Hardware) -> tuple[Any, Any]:
    """Load the base model in the precision that it is trained in.

    Full fine-tuning updates fp32 weights. Below an adapter the base stays in its own dtype where that is what is
    computed in anyway; otherwise it is widened to fp32. With QLoRA it is quantized. DeepSpeed computes with all
    weights in one dtype, and keeps those that are trained in fp32 beside them.

    Returns:
        The model on the CPU, and the dtype of the weights on disk. A quantized model is on its GPU already, and has no
        dtype to be written in; neither has DeepSpeed's, which is written from its base.

    Raises:
        TrainingError: If transformers cannot load it as a causal language model.
    """
    import torch

    if training.quantized_bits:
        options = quantized_options(training.quantized_bits, hardware)
        model = read_base(folder, attn_implementation=hardware.attention, **options)
        if hardware.device == "cuda":
            # what rounding took is given back, since it would count as taken when passes are sized
            torch.cuda.empty_cache()
        return model, None
    computed = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[hardware.precision]
    if training.apply_deepspeed:
        return read_base(folder, dtype=computed, attn_implementation=hardware.attention), None
    model = read_base(folder, dtype="auto", attn_implementation=hardware.attention)
    dtype = model.dtype
    if training.method == "full" or dtype != computed:
        model = model.float()
    return model, dtype


def read_base(folder: Path, **options: Any) -> Any:
    """Read a model folder: safetensors only, no code from it.

    Raises:
        TrainingError: If transformers cannot load it as a causal language model.
    """
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, trust_remote_code=False, **options
        )
    except Exception as error:  # config, weights or attention: each fails in a way of its own
        reason = " ".join(str(error).split())[:300]
        raise TrainingError(f"cannot load the base model from {folder}: {reason}. Check model.model_id.") from error


def add_adapter(model: Any, lora: LoraConfig, base: ModelConfig, folder: Path, widened: bool = True) -> Any:
    """Freeze the model and put a fresh low-rank adapter on it, in fp32 unless `widened` is false.

    Raises:
        TrainingError: If the model has no such layers.
    """
    import peft

    config = peft.LoraConfig(
        task_type="CAUSAL_LM", r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
    )  # fmt: skip
    try:
        adapted = peft.get_peft_model(model, config, autocast_adapter_dtype=widened)
    except ValueError as error:
        reason = " ".join(str(error).split())[:300]
        raise TrainingError(f"lora.target_modules {lora.target_modules} do not fit the model: {reason}") from error
    # what the adapter is loaded on later: the id where it has one, not where it was downloaded to
    local = base.model_id == "starter" or Path(base.model_id).expanduser().is_dir()
    config = adapted.peft_config["default"]
    config.base_model_name_or_path = str(folder) if local else base.model_id
    config.revision = None if local else folder.name
    return adapted


def size_of(weights: Any) -> int:
    """Numbers in a tensor of weights, of which ZeRO-3 leaves a process its share."""
    return int(getattr(weights, "ds_numel", weights.numel()))


def count_parameters(model: Any) -> tuple[int, int]:
    """Weights that are trained, and all; a byte of 4-bit weights holds two."""
    if hasattr(model, "get_nb_trainable_parameters"):
        trained, total = model.get_nb_trainable_parameters()
        return int(trained), int(total)
    sizes = [(size_of(weights), weights.requires_grad) for weights in model.parameters()]
    return sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes)


def check_finite(model: Any) -> None:
    """Raise unless all trained weights are numbers.

    Raises:
        TrainingError: If the last steps broke them.
    """
    broken = [name for name, weights in model.named_parameters() if weights.requires_grad and not _finite(weights)]
    if broken:
        raise TrainingError(
            f"{len(broken)} trained weights are no longer numbers ({broken[0]}). Lower training.learning_rate."
        )


def _finite(weights: Any) -> bool:
    import torch

    return bool(torch.isfinite(weights.detach().sum()))


def remove_stale_files(output_dir: Path) -> None:
    """Remove what an earlier run left, so that adapter and merged weights never lie side by side.

    Raises:
        StorageError: If the folder cannot be written.
    """
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        for pattern in _STALE:
            for path in output_dir.glob(pattern):
                path.unlink()
    except OSError as error:
        raise StorageError(
            f"cannot write {output_dir}: {error.strerror or error}. Make it writable or choose another folder."
        ) from error


def write_model(model: Any, base_dir: Path, dtype: Any, output_dir: Path, merge: bool) -> None:
    """Write weights, configs and tokenizer; an adapter goes without config.json, and nothing is written quantized.

    Args:
        model: The trained model; an adapter on it is merged into the weights or written alone.
        base_dir: Folder of the base model, whose configs and tokenizer go along unchanged.
        dtype: Of the weights on disk: that of the base model, None to look it up. Adapters stay in fp32.
        output_dir: Existing folder.
        merge: Whether an adapter is merged.

    Raises:
        StorageError: If the folder cannot be written.
    """
    from transformers import GenerationConfig

    adapter = hasattr(model, "peft_config") and not merge
    if not adapter:
        model = _merged(model, base_dir) if hasattr(model, "peft_config") else model
        model = model.to("cpu", dtype=dtype or model.dtype)
        # checked when written, and the base model's own may hold what its checks refuse
        model.generation_config = GenerationConfig.from_model_config(model.config)
    try:
        if adapter:
            # without the option peft asks the Hub about the base model's vocabulary
            model.save_pretrained(output_dir, save_embedding_layers=False)
            (output_dir / "README.md").unlink(missing_ok=True)  # an empty model card
        else:
            model.save_pretrained(output_dir)
        read_tokenizer(base_dir).save_pretrained(output_dir)
        for name in CONFIG_FILES:
            # beside an adapter a config.json would tell transformers that the whole model is here
            if (base_dir / name).is_file() and not (adapter and name == "config.json"):
                shutil.copyfile(base_dir / name, output_dir / name)
    except Exception as error:  # the tokenizers library raises a bare Exception when it cannot write
        reason = " ".join(str(error).split())[:200]
        raise StorageError(
            f"cannot write the model to {output_dir}: {reason}. Free some space and run again; training is kept."
        ) from error


def _merged(model: Any, base_dir: Path) -> Any:
    if is_quantized(model):
        return merge_into_base(model, read_base(base_dir, dtype="auto"))
    return model.merge_and_unload()


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file.

    Raises:
        StorageError: If it cannot be written.
    """
    try:
        path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}. Free some space and run again.") from error
