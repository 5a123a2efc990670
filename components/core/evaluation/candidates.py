"""The models that are compared: where their weights are, what identifies them, and how they are loaded."""

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.errors import StorageError
from components.core.evaluation.results import ModelName
from components.core.recipe import ModelConfig
from components.core.registry.base_model import CONFIG_FILES, read_tokenizer, resolve_model, tokenizer_files
from components.core.registry.manifest import hash_file
from components.core.registry.model_folder import MODEL_INFO_FILE
from components.core.registry.names import public_name
from components.core.settings import Settings
from components.core.tasks import Prompt, read_prompt

logger = logging.getLogger(__name__)

_FITTING_SHARE = 0.9
"""Part of the GPU's free memory that a model may take as a whole."""
_WEIGHTS_SHARE = 0.4
"""Part of it for the weights of a larger one; the rest is for the layer that is fetched, and the cache of a batch."""
ADAPTER_CONFIG = "adapter_config.json"

# Where a model came from does not change what it answers: publishing rewrites these and must not empty the cache.
_ORIGIN_KEYS = ("_name_or_path", "base_model_name_or_path", "transformers_version")


@dataclass(frozen=True)
class Candidate:
    """One model to ask."""

    name: ModelName
    source: str
    """Model id or folder name, for the report."""
    revision: str
    folder: Path
    """Merged model, or adapter."""
    adapter_base: Path | None
    """The base that an adapter loads on; none for a stand-alone model."""
    prompt: Prompt
    weights_sha256: str
    """Hash over the weights, those of an adapter's base included."""
    settings_sha256: str
    """Hash over configuration and tokenizer."""

    @property
    def folders(self) -> list[Path]:
        """Where the files are, an adapter's base first."""
        return [self.folder] if self.adapter_base is None else [self.adapter_base, self.folder]


def base_candidate(model: ModelConfig, prompt: Prompt, settings: Settings) -> Candidate:
    """The base model, asked with the tuned model's prompt."""
    found = resolve_model(model, settings)
    return make_candidate("base", public_name(model.model_id), found.revision, found.path, None, prompt)


def tuned_candidate(model_dir: Path, model: ModelConfig, settings: Settings) -> Candidate:
    """The tuned model; an adapter loads on the recipe's base."""
    base = resolve_model(model, settings).path if (model_dir / ADAPTER_CONFIG).is_file() else None
    return make_candidate("tuned", model_dir.name, "", model_dir, base, read_prompt(model_dir))


def champion_candidate(champion_dir: Path, model: ModelConfig, settings: Settings) -> Candidate:
    """The registered champion, asked with its own prompt, as it serves; an adapter loads on the base that it names."""
    base = None
    if (champion_dir / ADAPTER_CONFIG).is_file():
        base = resolve_model(_adapter_base(champion_dir, model), settings).path
    return make_candidate("champion", champion_dir.name, "", champion_dir, base, read_prompt(champion_dir))


def _adapter_base(folder: Path, model: ModelConfig) -> ModelConfig:
    path = folder / MODEL_INFO_FILE
    try:
        base = json.loads(path.read_text(encoding="utf-8"))["base_model"]
        name, revision = base["id"], base["revision"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{path} does not name the adapter's base model. Publish the model again.") from error
    # a published folder holds no path of the machine it was made on, so a local base is known by its name only
    same = name == public_name(model.model_id)
    return ModelConfig(model_id=model.model_id if same else name, revision=revision or None)


def make_candidate(
    name: ModelName, source: str, revision: str, folder: Path, base: Path | None, prompt: Prompt
) -> Candidate:
    """A model in a folder, an adapter on its base, with the hashes that identify it.

    Raises:
        StorageError: If the folder holds no safetensors weights.
    """
    folders = [folder] if base is None else [base, folder]
    weights = [path for place in folders for path in sorted(place.glob("*.safetensors"))]
    if not any(path.parent == folder for path in weights):
        raise StorageError(f"{folder} holds no *.safetensors weights. Run the fine-tuning step again.")
    settings = [path for place in folders for path in _settings_files(place)]
    return Candidate(
        name, source, revision, folder, base, prompt, _digest(weights, hash_file), _digest(settings, _hash_text)
    )


def _settings_files(folder: Path) -> list[Path]:
    configs = [folder / name for name in (*CONFIG_FILES, ADAPTER_CONFIG)]
    return [path for path in configs if path.is_file()] + tokenizer_files(folder)


def _digest(paths: list[Path], hasher: Callable[[Path], str]) -> str:
    listing = "".join(f"{hasher(path)}  {path.name}\n" for path in paths)
    return hashlib.sha256(listing.encode()).hexdigest()


def _hash_text(path: Path) -> str:
    """Hash of a small file; of JSON, without its layout and what only says where the model came from."""
    content = path.read_bytes()
    if path.suffix == ".json":
        with contextlib.suppress(ValueError):
            value = json.loads(content)
            if isinstance(value, dict):
                value = {key: value[key] for key in value if key not in _ORIGIN_KEYS}
            content = json.dumps(value, sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()


def load(candidate: Candidate) -> tuple[Any, Any]:
    """Load model and tokenizer for inference: on the GPU where there is one, in fp32 on a CPU.

    A model that is too large for the GPU, as one that was trained quantized may be, keeps some layers in host memory.

    Raises:
        StorageError: If the folder cannot be loaded as a causal language model.
    """
    import torch
    from transformers import AutoModelForCausalLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = read_tokenizer(_tokenizer_folder(candidate))
    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            candidate.folders[0],
            dtype="auto" if device == "cuda" else torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
        # transformers fills a weight that is not in the file with random numbers, and only warns
        if lacking := sorted(found["missing_keys"]):
            raise ValueError(f"{len(lacking)} weights are missing, {lacking[0]} for one")
        if candidate.adapter_base is not None:
            from peft import PeftModel

            # merged, because two matrix products per layer and token would make generation slower for the same answer
            model = PeftModel.from_pretrained(model, candidate.folder, local_files_only=True).merge_and_unload()
    except Exception as error:  # what a broken file raises depends on its reader
        raise StorageError(
            f"cannot load the {candidate.name} model from {candidate.folder} ({_first_line(error)}). "
            "Check that the folder is a complete causal language model with its tokenizer."
        ) from error
    if device == "cpu":
        return model.eval(), tokenizer
    free = int(torch.cuda.mem_get_info()[0])
    if model.get_memory_footprint() <= free * _FITTING_SHARE:
        return model.to(device).eval(), tokenizer
    logger.warning("The %s model is larger than the GPU: some layers stay in host memory (slow)", candidate.name)
    return _dispatched(model.eval(), free), tokenizer


def split_layers(model: Any, free_bytes: int) -> dict[str, int | str]:
    """Whole layers on the first GPU as far as its share for weights goes, the others in host memory."""
    from accelerate import infer_auto_device_map

    room: dict[int | str, int] = {0: int(free_bytes * _WEIGHTS_SHARE), "cpu": 2 * model.get_memory_footprint()}
    placed: dict[str, int | str] = infer_auto_device_map(
        model, max_memory=room, no_split_module_classes=list(model._no_split_modules or [])
    )
    return placed


def _dispatched(model: Any, free_bytes: int) -> Any:
    from accelerate import dispatch_model

    return dispatch_model(model, device_map=split_layers(model, free_bytes), main_device=0)


def _tokenizer_folder(candidate: Candidate) -> Path:
    has_own = (candidate.folder / "tokenizer_config.json").is_file()
    return candidate.folder if has_own else candidate.folders[0]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
