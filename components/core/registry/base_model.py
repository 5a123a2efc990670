"""The base model where it is: the starter, a local folder, or the Hub; only safe files are ever read."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.errors import StorageError
from components.core.recipe import ModelConfig
from components.core.registry.hub_errors import http_status, with_retries
from components.core.registry.json_files import read_json
from components.core.settings import STARTER_DIR, Settings

logger = logging.getLogger(__name__)

STARTER = "starter"
TOKENIZER_FILES = (
    "tokenizer*.json", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "*.model",
    "chat_template*",
)  # fmt: skip
CONFIG_FILES = ("config.json", "generation_config.json")
WEIGHT_FILES = ("*.safetensors", "*.safetensors.index.json")
# other formats in sub-folders (onnx, gguf), and Mistral's second copy of the weights
_LEFT_OUT = ("*/*", "consolidated*", "*.bin", "*.pt", "*.pth", "*.pkl", "*.py")


@dataclass(frozen=True)
class ResolvedModel:
    """A base model on this machine."""

    path: Path
    """Folder with config, tokenizer and, if asked for, safetensors weights."""
    revision: str
    """Commit on the Hub that was really loaded; `local` for a folder and `starter` for the embedded model."""

    @property
    def max_positions(self) -> int | None:
        """Longest sequence that the model's config allows, in tokens; None where it does not say."""
        config = read_model_config(self.path)
        for section in (config, config.get("text_config") or {}):
            for key in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
                if isinstance(section.get(key), int):
                    return int(section[key])
        return None


def resolve_model(model: ModelConfig, settings: Settings) -> ResolvedModel:
    """Make sure that the base model's config, tokenizer and safetensors weights are on this machine.

    Raises:
        StorageError: If it cannot be found, read or downloaded, or comes without safetensors weights.
    """
    found = _resolve(model, settings, (*CONFIG_FILES, *TOKENIZER_FILES, *WEIGHT_FILES))
    read_model_config(found.path)
    _check_weights(found.path, model.model_id)
    logger.info("Base model %s at revision %s", model.model_id, found.revision)
    return found


def resolve_tokenizer(model: ModelConfig, settings: Settings) -> ResolvedModel:
    """Like `resolve_model`, but without the weights."""
    return _resolve(model, settings, (*CONFIG_FILES, *TOKENIZER_FILES))


def resolve_config(model: ModelConfig, settings: Settings) -> ResolvedModel:
    """Like `resolve_model`, but without weights and tokenizer."""
    found = _resolve(model, settings, CONFIG_FILES)
    read_model_config(found.path)
    return found


def resolve_files(model: ModelConfig, settings: Settings) -> ResolvedModel:
    """Like `resolve_model`, but unchecked and with all that lies beside the weights: a model folder, or an adapter."""
    return _resolve(model, settings, ("*.json", "*.jinja", *TOKENIZER_FILES, *WEIGHT_FILES))


def is_on_the_hub(model: ModelConfig) -> bool:
    """Whether the base model would be downloaded."""
    return model.model_id != STARTER and not Path(model.model_id).expanduser().is_dir()


def read_tokenizer(folder: Path) -> Any:
    """Load the tokenizer of a local folder.

    Raises:
        StorageError: If there is none or it cannot be read.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the readers of broken files raise what they like, bare Exception included
        raise StorageError(
            f"cannot load a tokenizer from {folder}: {_one_line(error)}. Check its tokenizer.json."
        ) from error


def tokenizer_files(folder: Path) -> list[Path]:
    """The files of a folder that decide how text becomes tokens, sorted by name."""
    return sorted({path for pattern in TOKENIZER_FILES for path in folder.glob(pattern) if path.is_file()})


def read_model_config(folder: Path) -> dict[str, Any]:
    """Read config.json of a model folder.

    Raises:
        StorageError: If it is missing or is not a JSON object.
    """
    return read_json(folder / "config.json", "Name a complete model.")


def _resolve(model: ModelConfig, settings: Settings, patterns: Sequence[str]) -> ResolvedModel:
    if model.model_id == STARTER:
        folder = STARTER_DIR / "model"
        if not folder.is_dir():
            raise StorageError(f"the starter model is not in {folder}. Restore that folder from the repository.")
        return ResolvedModel(folder, STARTER)
    folder = Path(model.model_id).expanduser()
    if folder.is_dir():
        return ResolvedModel(folder.resolve(), "local")
    if model.model_id.startswith(("/", ".", "~")) or model.model_id.count("/") > 1:
        raise StorageError(f"there is no model folder {folder}. Check model.model_id.")
    return _download(model, settings, patterns)


def _download(model: ModelConfig, settings: Settings, patterns: Sequence[str]) -> ResolvedModel:
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    token = settings.hf_token.get_secret_value() if settings.hf_token else None

    def download() -> ResolvedModel:
        folder = snapshot_download(
            model.model_id, revision=model.revision, endpoint=settings.hf_endpoint, token=token or False,
            allow_patterns=list(patterns), ignore_patterns=list(_LEFT_OUT),
        )  # fmt: skip
        return ResolvedModel(Path(folder), Path(folder).name)

    try:
        return with_retries(download)
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx.HTTPError, OSError, ValueError) as error:
        raise StorageError(_explain(model, settings, error, http_status(error))) from error


def _explain(model: ModelConfig, settings: Settings, error: Exception, status: int | None) -> str:
    what = f"cannot download {model.model_id} from {settings.hf_endpoint}"
    name = type(error).__name__
    if name == "GatedRepoError" or status == 403:
        return f"{what}: access is restricted. Ask for access on its page and set HF_TOKEN to a token of that account."
    if name == "RevisionNotFoundError":
        return f"{what}: it has no revision `{model.revision}`. Check model.revision."
    if name == "RepositoryNotFoundError" or status in (401, 404):
        return (
            f"{what}: not found, or private and HF_TOKEN does not open it (HTTP {status}). "
            "Check model.model_id (a local folder must exist) and HF_TOKEN."
        )
    if status is not None and status >= 500:
        return f"{what}: the Hub answered HTTP {status}. Try again later; finished files are kept."
    if isinstance(error, ValueError) and status is None:
        return f"{what}: {_one_line(error)}. Check model.model_id."
    return f"{what}: the connection failed ({_one_line(error)}). Check the network and HF_ENDPOINT, and try again."


def _check_weights(folder: Path, model_id: str) -> None:
    """Raise unless all safetensors files are there; the shards by the index."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StorageError(f"{index} is not an index of safetensors files ({_one_line(error)}).") from error
        missing = [shard for shard in shards if not (folder / str(shard)).is_file()]
        if missing:
            raise StorageError(f"{model_id} lacks {len(missing)} of {len(shards)} weight files ({missing[0]}).")
    elif not any(folder.glob("*.safetensors")):
        raise StorageError(
            f"{model_id} has no safetensors weights ({folder}). Other formats can run code and are never loaded: "
            "choose a model, or a revision of it, with model.safetensors."
        )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
