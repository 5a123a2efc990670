"""The model that answers: found, identified, loaded, with the prompt that it was trained on."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.errors import ConfigError, PlatformError, RegistryError, StorageError
from components.core.evaluation.candidates import ADAPTER_CONFIG, Candidate, load, make_candidate
from components.core.evaluation.generation import StopRule, stop_rule
from components.core.recipe import ModelConfig, TaskConfig
from components.core.registry.base_model import STARTER, is_on_the_hub, read_tokenizer, resolve_files, resolve_model
from components.core.registry.json_files import read_json
from components.core.registry.manifest import MANIFEST_FILE, verify_checksums
from components.core.registry.names import CANDIDATE, CHAMPION, is_hub_id, public_name
from components.core.registry.registered_base import served_model
from components.core.responses.config import BatchInferenceConfig
from components.core.settings import Settings
from components.core.tasks import Prompt, read_prompt, set_chat_template
from components.core.tasks.prompt import PROMPT_FILE
from components.core.tasks.rendering import build_prompt, layout

logger = logging.getLogger(__name__)

_REMEDY = "Publish the model again."
_KEYS = {"model.model_id": "ft_model_id", "model.revision": "ft_model_revision"}


@dataclass(frozen=True)
class FoundModel:
    """A model on this machine, not loaded."""

    model_id: str
    """As it stands in the rows."""
    sha: str
    """Commit on the Hub, else a hash over all that decides the answers."""
    candidate: Candidate
    generation: dict[str, Any]
    """How it answered when it was judged; empty where nothing says."""


@dataclass(frozen=True)
class OpenModel:
    """A model that is ready to answer."""

    model: Any
    tokenizer: Any
    stop: StopRule
    one_line: bool


def find_model(config: BatchInferenceConfig, settings: Settings) -> FoundModel:
    """Find the model, download it where it is on the Hub, and identify it.

    Raises:
        StorageError: If it cannot be found, read or downloaded, or is not complete.
        RegistryError: If it is registered but cannot be used.
        ConfigError: If it writes no text.
    """
    try:
        folder, commit = _find_folder(config, settings)
        return _identify(config.ft_model_id, folder, commit, settings)
    except PlatformError as error:
        message = str(error)
        for theirs, ours in _KEYS.items():
            message = message.replace(theirs, ours)
        raise type(error)(message) from error


def _find_folder(config: BatchInferenceConfig, settings: Settings) -> tuple[Path, str]:
    """The folder, and the commit of one that comes from the Hub."""
    name, revision = config.ft_model_id, config.ft_model_revision
    local = not is_on_the_hub(ModelConfig(model_id=name))
    if not local and not is_hub_id(name) and not name.startswith(("/", ".", "~")) and name.count("/") == 0:
        place = _registered(name, settings)
        if Path(place).is_dir():
            return Path(place), ""
        name, _, revision = place.partition("@")
    model = ModelConfig(model_id=name, revision=None if local else revision)
    found = resolve_files(model, settings)
    return found.path, "" if local else found.revision


def _registered(name: str, settings: Settings) -> str:
    """Folder or `user/repo@commit` of a registered model; of a bare name the champion, else the candidate."""
    if "@" in name:
        return served_model(name, settings)
    try:
        return served_model(f"{name}@{CHAMPION}", settings)
    except RegistryError:
        try:
            return served_model(f"{name}@{CANDIDATE}", settings)
        except RegistryError as error:
            raise RegistryError(
                f"there is no model {name}: no folder has this name, and in the registry {error} Check model.model_id; "
                "a model on the Hub is user/name."
            ) from error


def _identify(model_id: str, folder: Path, commit: str, settings: Settings) -> FoundModel:
    if (folder / "head.json").is_file():
        raise ConfigError(f"ft_model_id={model_id}: this model has a head and writes no text. Name one that does.")
    base = _base_of(folder, settings) if (folder / ADAPTER_CONFIG).is_file() else None
    if base is None and not (folder / "config.json").is_file():
        raise StorageError(f"{folder} holds no config.json. Name the folder of a complete model, or of an adapter.")
    source = public_name(model_id)
    candidate = make_candidate("tuned", source, commit, folder, base, _prompt_of(folder, base))
    if not commit:
        ours = (folder / MANIFEST_FILE).is_file()
        commit = verify_checksums(folder).content_sha256 if ours else _content_hash(candidate)
    info = folder / "model_info.json"
    generation = read_json(info, _REMEDY).get("generation", {}) if info.is_file() else {}
    logger.info("Model %s at %s", source, commit)
    return FoundModel(source, commit, candidate, generation)


def _content_hash(candidate: Candidate) -> str:
    import hashlib

    return hashlib.sha256(f"{candidate.weights_sha256} {candidate.settings_sha256}".encode()).hexdigest()


def _base_of(folder: Path, settings: Settings) -> Path:
    """The folder of an adapter's base, as its facts or peft's own configuration name it."""
    info = folder / "model_info.json"
    base = read_json(info, _REMEDY).get("base_model", {}) if info.is_file() else {}
    config = read_json(folder / ADAPTER_CONFIG, _REMEDY)
    # a published folder holds no path; before that, peft's configuration does
    names = [str(config.get("base_model_name_or_path") or ""), str(base.get("id") or "")]
    name = next((each for each in names if Path(each).is_dir() or each == STARTER or is_hub_id(each)), "")
    if not name:
        raise StorageError(
            f"{folder} is an adapter on {names[0] or names[1] or 'an unnamed base'}, which is neither a folder here "
            "nor on the Hub. Train with lora.merge_lora_weights=true, which writes a stand-alone model."
        )
    revision = base.get("revision") or config.get("revision")
    return resolve_model(ModelConfig(model_id=name, revision=str(revision) if revision else None), settings).path


def _prompt_of(folder: Path, base: Path | None) -> Prompt:
    """The prompt that travels with the weights; else conversations in the tokenizer's chat template, or a plain one."""
    for place in filter(None, (folder, base)):
        if (place / PROMPT_FILE).is_file():
            return read_prompt(place)
    tokenizer = read_tokenizer(folder if (folder / "tokenizer_config.json").is_file() else base or folder)
    return build_prompt(TaskConfig(name="chat_completion"), tokenizer)


def open_tokenizer(found: FoundModel) -> Any:
    """The model's tokenizer, with the chat template that its prompt brings along."""
    folder = found.candidate.folder
    has_own = (folder / "tokenizer_config.json").is_file()
    tokenizer = read_tokenizer(folder if has_own else found.candidate.folders[0])
    set_chat_template(tokenizer, found.candidate.prompt)
    return tokenizer


def open_model(found: FoundModel) -> OpenModel:
    """Load the model.

    Raises:
        StorageError: If it cannot be loaded as a causal language model.
    """
    model, tokenizer = load(found.candidate)
    prompt = found.candidate.prompt
    set_chat_template(tokenizer, prompt)
    one_line = bool(found.generation.get("one_line", not prompt.chat_template))
    ends = layout(tokenizer, prompt.chat_template).stop_ids
    return OpenModel(model, tokenizer, stop_rule(model, tokenizer, ends, one_line), one_line)
