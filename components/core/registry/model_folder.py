"""The model folder, the contract between training and serving: weights, tokenizer, prompt, facts, card, manifest."""

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.errors import RegistryError, StorageError
from components.core.recipe import RegistryConfig
from components.core.registry.access import ACCESS_FILE
from components.core.registry.card import write_card
from components.core.registry.facts import EVALUATION_FILE, PROMPT_FILE, RunFacts, read_facts
from components.core.registry.head_card import write_head_card
from components.core.registry.head_facts import HEAD_FILE, HEAD_TASKS, read_head_facts
from components.core.registry.hub import license_of
from components.core.registry.json_files import read_json, read_lines
from components.core.registry.manifest import MANIFEST_FILE, Manifest, parse_manifest, verify_checksums, write_manifest
from components.core.registry.names import without_paths
from components.core.settings import Settings

__all__ = ["ModelFolder", "read_model_folder", "verify_checksums", "write_head_folder", "write_model_folder"]

logger = logging.getLogger(__name__)

ADAPTER_CONFIG = "adapter_config.json"
MODEL_INFO_FILE = "model_info.json"
CARD_FILE = "README.md"
QUANTIZATION_FILE = "quantization.json"
"""Whether int8 weights may be served; written after publishing, so it is no part of the manifest."""
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".msgpack", ".h5")
COPIED_SUFFIXES = (".safetensors", ".json", ".jsonl", ".jinja", ".txt", ".model", ".onnx", ".onnx_data")
_NOT_COPIED = (MANIFEST_FILE, MODEL_INFO_FILE, EVALUATION_FILE, QUANTIZATION_FILE, ACCESS_FILE)
"""Written here, or after publishing."""
_AS_THEY_ARE = (PROMPT_FILE, HEAD_FILE)
"""Copied byte for byte: a label that looks like a path is a label."""
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
_REMEDY = "Run the fine-tuning again, or publish the model again."


@dataclass(frozen=True)
class ModelFolder:
    """A complete model folder."""

    path: Path
    info: dict[str, Any]
    """The content of model_info.json."""
    prompt: dict[str, Any]
    """The content of prompt.json; empty for a head."""
    head: dict[str, Any]
    """The content of head.json; empty for a model that writes text."""
    manifest: Manifest
    adapter: bool
    """The weights are a low-rank adapter that loads on `info["base_model"]`."""


def write_model_folder(
    model_dir: Path,
    evaluation_dir: Path,
    dataset_dir: Path,
    registry: RegistryConfig,
    recipe_sections: dict[str, Any],
    settings: Settings,
    output_dir: Path,
) -> dict[str, Any]:
    """Make a model folder of what a run left; the manifest is written last.

    Args are those of `publish`. The folder holds nothing of this machine: absolute paths are cut to their last part.

    Returns:
        The content of model_info.json.

    Raises:
        StorageError: If something is missing, or the weights are pickled.
        RegistryError: If the token stands in one of the files.
    """
    _check_training_output(model_dir, PROMPT_FILE)
    facts = read_facts(model_dir, evaluation_dir, dataset_dir, registry, recipe_sections, settings)
    return _assemble(facts, model_dir, evaluation_dir, registry, settings, output_dir)


def write_head_folder(
    model_dir: Path,
    evaluation_dir: Path,
    preprocess_dir: Path,
    registry: RegistryConfig,
    settings: Settings,
    output_dir: Path,
) -> dict[str, Any]:
    """The same for a model with a head: head.json instead of prompt.json, and what there is of ONNX."""
    _check_training_output(model_dir, HEAD_FILE)
    facts = read_head_facts(model_dir, evaluation_dir, preprocess_dir, registry, settings)
    return _assemble(facts, model_dir, evaluation_dir, registry, settings, output_dir)


def _assemble(
    facts: RunFacts,
    model_dir: Path,
    evaluation_dir: Path,
    registry: RegistryConfig,
    settings: Settings,
    output_dir: Path,
) -> dict[str, Any]:
    info = facts.model_info()
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        # a folder that is being rewritten must not look complete
        (output_dir / MANIFEST_FILE).unlink(missing_ok=True)
        names = [_copy(file, output_dir) for file in sorted(model_dir.iterdir()) if _belongs(file)]
        _name_base(output_dir / ADAPTER_CONFIG, facts.base_model_id)
        names.append(_copy(evaluation_dir / EVALUATION_FILE, output_dir))
        card = card_text(facts, model_dir, registry, settings)
        (output_dir / CARD_FILE).write_text(card, encoding="utf-8")
        _write_json(output_dir / MODEL_INFO_FILE, info)
        names += [CARD_FILE, MODEL_INFO_FILE]
        _refuse_secrets([output_dir / name for name in names], settings)
        write_manifest(output_dir, names)
    except OSError as error:
        raise StorageError(
            f"cannot write the model folder {output_dir}: {error.strerror or error}. Free some space or choose another."
        ) from error
    return info


def card_text(facts: RunFacts, model_dir: Path, registry: RegistryConfig, settings: Settings) -> str:
    """The model card of a run."""
    license_id = registry.license or license_of(facts.base_model_id, facts.training.base_model_revision, settings)
    if facts.head is not None:
        return write_head_card(facts, facts.head, registry, license_id, _is_adapter(model_dir))
    prompt = read_json(model_dir / PROMPT_FILE, _REMEDY)
    return write_card(facts, registry, prompt, license_id, _is_adapter(model_dir))


def read_model_folder(path: Path) -> ModelFolder:
    """Read a model folder and make sure that it is complete; `verify_checksums` also reads every byte.

    Raises:
        StorageError: If anything is missing; the message says what and how to get it.
    """
    if not path.is_dir():
        raise StorageError(f"{path} is not a folder. Name the folder that holds {MANIFEST_FILE}.")
    meaning = _meaning_file(path)
    missing = _missing(path, meaning)
    missing += [name for name in (MODEL_INFO_FILE, CARD_FILE, MANIFEST_FILE) if not (path / name).is_file()]
    if missing:
        raise StorageError(f"{path} is not a complete model folder: it lacks {', '.join(missing)}. {_REMEDY}")
    manifest = parse_manifest((path / MANIFEST_FILE).read_text(encoding="utf-8"), str(path / MANIFEST_FILE))
    gone = [name for name in manifest.files if not (path / name).is_file()]
    if gone:
        raise StorageError(f"{path} is not a complete model folder: it lacks {', '.join(gone)}. {_REMEDY}")
    info = read_json(path / MODEL_INFO_FILE, _REMEDY)
    read = {meaning: read_json(path / meaning, _REMEDY)}
    return ModelFolder(path, info, read.get(PROMPT_FILE, {}), read.get(HEAD_FILE, {}), manifest, _is_adapter(path))


def _meaning_file(folder: Path) -> str:
    """What a folder must hold beside the weights: head.json if it is a model with a head, else prompt.json."""
    if (folder / HEAD_FILE).is_file() or not (folder / MODEL_INFO_FILE).is_file():
        return HEAD_FILE if (folder / HEAD_FILE).is_file() else PROMPT_FILE
    task = read_json(folder / MODEL_INFO_FILE, _REMEDY).get("task")
    return HEAD_FILE if task in HEAD_TASKS else PROMPT_FILE


def _check_training_output(model_dir: Path, meaning: str) -> None:
    if not model_dir.is_dir():
        raise StorageError(f"{model_dir} is not a folder. Name the folder that the fine-tuning wrote.")
    pickled = sorted(file.name for file in model_dir.iterdir() if file.suffix in PICKLE_SUFFIXES)
    if pickled:
        raise StorageError(
            f"{model_dir} holds {', '.join(pickled)}: such files can run code when they are loaded and are never "
            "published. Save the weights as safetensors and remove them."
        )
    missing = _missing(model_dir, meaning)
    if missing:
        raise StorageError(f"{model_dir} is not a finished training output: it lacks {', '.join(missing)}. {_REMEDY}")


def _missing(folder: Path, meaning: str) -> list[str]:
    """What a model cannot be loaded and served without."""
    missing = [name for name in (meaning, "tokenizer_config.json") if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        missing.append("tokenizer.json")
    if _is_adapter(folder):
        return missing + [n for n in (ADAPTER_CONFIG, "adapter_model.safetensors") if not (folder / n).is_file()]
    if not (folder / "config.json").is_file():
        missing.append("config.json")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = set(read_json(index, _REMEDY).get("weight_map", {}).values())
        return missing + sorted(shard for shard in shards if not (folder / shard).is_file())
    if not (folder / "model.safetensors").is_file():
        missing.append("model.safetensors")
    return missing


def _is_adapter(folder: Path) -> bool:
    return (folder / ADAPTER_CONFIG).is_file()


def _belongs(file: Path) -> bool:
    if not file.is_file() or file.name in _NOT_COPIED:
        return False
    if file.suffix not in COPIED_SUFFIXES:
        logger.info("%s is no part of a model folder and is left out", file.name)
        return False
    return True


def _copy(file: Path, folder: Path) -> str:
    if file.suffix == ".json" and file.name not in _AS_THEY_ARE and not file.name.startswith("tokenizer"):
        content = read_json(file, _REMEDY)
        labels = {"id2label": content["id2label"]} if "id2label" in content else {}
        _write_json(folder / file.name, without_paths(content) | labels)
    elif file.suffix == ".jsonl":
        lines = [json.dumps(without_paths(point)) for point in read_lines(file, _REMEDY)]
        (folder / file.name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    else:
        shutil.copyfile(file, folder / file.name)
    return file.name


def _name_base(adapter_config: Path, base_model_id: str) -> None:
    """Let an adapter name its base as the recipe does; a base of this machine was a path."""
    if adapter_config.is_file():
        _write_json(adapter_config, read_json(adapter_config, _REMEDY) | {"base_model_name_or_path": base_model_id})


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _refuse_secrets(files: list[Path], settings: Settings) -> None:
    if settings.hf_token is None:
        return
    secret = settings.hf_token.get_secret_value().encode()
    for file in files:
        if file.suffix != ".safetensors" and secret in file.read_bytes():
            raise RegistryError(
                f"HF_TOKEN stands in {file.name}, so the model is not published. "
                "Remove the token from the recipe or the data source's address and run again."
            )
