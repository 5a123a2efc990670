"""The reader of a model folder: everything that is served is complete and said, or the start fails with the remedy."""

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_endpoint.errors import ModelError
from llm_endpoint.heads.head import HEAD_FILE, HEAD_TASKS, Head, read_head
from llm_endpoint.served.access import check_access
from llm_endpoint.served.prompt import PROMPT_FILE, STANDARD_PROMPT, Prompt, read_prompt
from llm_endpoint.settings import Settings

logger = logging.getLogger(__name__)

MANIFEST_FILE = "manifest.json"
MODEL_INFO_FILE = "model_info.json"
ADAPTER_CONFIG = "adapter_config.json"
_OURS = (PROMPT_FILE, HEAD_FILE, MANIFEST_FILE, MODEL_INFO_FILE, "evaluation.json", "training_info.json")
"""Any of these says that a folder comes from a fine-tuning here, so that all of the contract must hold."""
GENERATIVE_TASKS = ("context_qa", "chat_completion")
_PICKLED = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "*.txt", "README.md", "model.onnx", "model.int8.onnx"]
_REMEDY = "Publish the model folder again."


@dataclass(frozen=True)
class ServedModel:
    """A model that is ready to be loaded."""

    folder: Path
    base_folder: Path | None
    """The base model of an adapter."""
    name: str
    revision: str
    """Version, commit, or the first 12 digits of the content's hash."""
    prompt: Prompt
    info: dict[str, Any]
    """model_info.json; empty for a model that is no folder of ours."""
    config: dict[str, Any]
    """config.json of the weights."""
    context_length: int
    """Tokens of prompt and answer together."""
    one_line: bool
    """A line break ends an answer, as it did when the model was judged."""
    repetition_penalty: float | None
    """As when the model was judged; None where that is not known."""
    content_sha256: str = ""
    """Of the manifest; empty for a model that is no folder of ours."""
    head: Head | None = None
    """Of a model with a classification or regression head; the prompt means nothing then."""


def open_served_model(settings: Settings) -> ServedModel:
    """Find the model that the settings name and check that its folder is complete.

    Raises:
        ModelError: Naming what is missing and the remedy.
    """
    source = Path(settings.model)
    if source.is_dir():
        return read_served_folder(source.resolve(), settings)
    hub_id, revision = split_revision(settings.model)
    if source.is_absolute() or hub_id.startswith(".") or hub_id.count("/") != 1:
        raise ModelError(
            f"there is no model folder {settings.model}. Set MODEL to a folder that holds {MANIFEST_FILE} or to a "
            "Hub id such as user/name or user/name@revision; on KServe check the InferenceService's storageUri."
        )
    folder = _download(hub_id, revision or settings.model_revision, settings)
    return read_served_folder(folder, settings, hub_id, folder.name)


def split_revision(model: str) -> tuple[str, str | None]:
    """Hub id and revision of `user/name@revision`, also with the `hf://` under which a run is registered."""
    hub_id, _, revision = model.removeprefix("hf://").partition("@")
    return hub_id, revision or None


def read_served_folder(
    folder: Path, settings: Settings, hub_id: str = "", commit: str = "", base: Path | None = None
) -> ServedModel:
    """Read a folder that is on this machine.

    Args:
        folder: A model folder, or any Hugging Face model.
        settings: For the download of an adapter's base.
        hub_id: Where it was downloaded from.
        commit: The commit of the download.
        base: Base model of an adapter; none finds it by what the adapter says.
    """
    pickled = sorted(file.name for file in folder.iterdir() if file.suffix in _PICKLED)
    adapter = (folder / ADAPTER_CONFIG).is_file()
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        found = f" (it holds {', '.join(pickled)}, which can run code when loaded)" if pickled else ""
        raise ModelError(f"{folder} holds no safetensors weights{found}. Save them as safetensors.")
    info: dict[str, Any] = {}
    prompt, head = STANDARD_PROMPT, None
    if any((folder / name).is_file() for name in _OURS):
        info = _read_info(folder)
        if info["task"] in GENERATIVE_TASKS:
            prompt = read_prompt(folder)
        else:
            head = read_head(folder)
            if head.task != info["task"]:
                raise ModelError(f"{folder} is of {info['task']}, but its {HEAD_FILE} of {head.task}. {_REMEDY}")
    elif not has_chat_template(folder):
        prompt = Prompt(prompt.template, False, prompt.no_answer_text)
    check_access(folder, info, settings)
    if adapter and base is None:
        base = _base_of(folder, info, settings)
    config = _read_json((base or folder) / "config.json")
    generation = info.get("generation", {})
    return ServedModel(
        folder=folder,
        base_folder=base,
        name=info.get("name") or hub_id or folder.name,
        revision=commit[:12] or _revision(folder),
        prompt=prompt,
        info=info,
        config=config,
        context_length=_context_length(config, folder) if head is None else head.max_seq_length,
        one_line=bool(generation.get("one_line", not prompt.chat_template)),
        repetition_penalty=generation.get("repetition_penalty"),
        content_sha256=_content(folder) if info else "",
        head=head,
    )


def has_chat_template(folder: Path) -> bool:
    """Whether the tokenizer brings a chat template."""
    return (folder / "chat_template.jinja").is_file() or bool(_tokenizer_config(folder).get("chat_template"))


def _read_info(folder: Path) -> dict[str, Any]:
    """model_info.json of a folder that is complete, and of a task that is served here."""
    info = _read_json(folder / MODEL_INFO_FILE) if (folder / MODEL_INFO_FILE).is_file() else {}
    task, tasks = info.get("task"), (*GENERATIVE_TASKS, *HEAD_TASKS)
    if task is not None and task not in tasks:
        raise ModelError(f"{folder} was trained for {task}; this endpoint answers {', '.join(tasks)}.")
    has_head = task in HEAD_TASKS or (task is None and (folder / HEAD_FILE).is_file())
    _check_complete(folder, HEAD_FILE if has_head else PROMPT_FILE)
    if task is None:
        raise ModelError(f"{folder / MODEL_INFO_FILE} names no task. {_REMEDY}")
    return info


def _check_complete(folder: Path, meaning: str) -> None:
    needed = [meaning, MODEL_INFO_FILE, MANIFEST_FILE, "tokenizer.json", "tokenizer_config.json"]
    missing = [name for name in needed if not (folder / name).is_file()]
    if MANIFEST_FILE not in missing:
        for name, entry in _manifest_files(folder).items():
            if not (folder / name).is_file():
                missing.append(name)
            elif (folder / name).stat().st_size != entry.get("size"):
                raise ModelError(f"{folder / name} is not the file that was published: its size differs. {_REMEDY}")
    if missing:
        raise ModelError(f"{folder} is not a complete model folder: it lacks {', '.join(missing)}. {_REMEDY}")


def _manifest_files(folder: Path) -> dict[str, dict[str, Any]]:
    files = _read_json(folder / MANIFEST_FILE).get("files")
    if not isinstance(files, dict) or not all(isinstance(entry, dict) for entry in files.values()):
        raise ModelError(f"{folder / MANIFEST_FILE} is not a manifest. {_REMEDY}")
    return files


def _revision(folder: Path) -> str:
    """The version in a registry folder (`name/3`), else a hash of what is served."""
    if folder.name.isdigit():
        return folder.name
    if (folder / MANIFEST_FILE).is_file():
        return _content(folder)[:12]
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        digest.update(f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}".encode())
    return f"local-{digest.hexdigest()[:6]}"


def _content(folder: Path) -> str:
    return str(_read_json(folder / MANIFEST_FILE).get("content_sha256", ""))


def _context_length(config: dict[str, Any], folder: Path) -> int:
    text = config.get("text_config", config)
    limits = [text.get(name) for name in ("max_position_embeddings", "n_positions", "max_seq_len")]
    limits.append(_tokenizer_config(folder).get("model_max_length"))
    found = [int(limit) for limit in limits if limit]
    if not found:
        raise ModelError(f"{folder / 'config.json'} does not say how many tokens the model reads.")
    return min(found)


def _base_of(folder: Path, info: dict[str, Any], settings: Settings) -> Path:
    base = info.get("base_model", {})
    name = str(base.get("id") or _read_json(folder / ADAPTER_CONFIG).get("base_model_name_or_path") or "")
    if Path(name).is_dir():
        return Path(name).resolve()
    if name.count("/") != 1:
        raise ModelError(
            f"{folder} holds an adapter for {name or 'an unnamed model'}, which is not on the Hub. "
            "Train with lora.merge_lora_weights=true, which writes a stand-alone model."
        )
    return _download(name, base.get("revision"), settings)


def _download(hub_id: str, revision: str | None, settings: Settings) -> Path:
    """Fetch a model from the Hub, or take it from the Hub's local cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    token = settings.hf_token.get_secret_value() if settings.hf_token else None
    logger.info("Fetching %s from %s", hub_id, settings.hf_endpoint)
    try:
        return Path(
            snapshot_download(
                hub_id, revision=revision, token=token, endpoint=settings.hf_endpoint, allow_patterns=_HUB_FILES
            )
        )
    except LocalEntryNotFoundError as error:
        raise ModelError(
            f"cannot reach {settings.hf_endpoint} for {hub_id}. Check the network and HF_ENDPOINT."
        ) from error
    except HFValidationError as error:
        raise ModelError(f"{hub_id} is neither a folder nor a Hub id. Set MODEL to one of them.") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        remedies = {401: "Set HF_TOKEN to a token that may read it.", 403: "Accept the model's terms on the Hub."}
        remedy = remedies.get(status, "Check MODEL, MODEL_REVISION and HF_TOKEN (a private model needs one).")
        raise ModelError(f"cannot fetch {hub_id} from the Hub (status {status}). {remedy}") from error
    except OSError as error:
        raise ModelError(f"cannot fetch {hub_id}: {type(error).__name__}. Check the network and the disk.") from error


def _tokenizer_config(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    return _read_json(path) if path.is_file() else {}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read ({error}). {_REMEDY}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} does not hold a JSON object. {_REMEDY}")
    return content
