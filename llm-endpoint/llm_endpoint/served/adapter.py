"""The reader of an adapter's folder, ours or a plain peft one: complete, allowed, and made for the served base."""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from llm_endpoint.engines.variant import Variant
from llm_endpoint.errors import ModelError
from llm_endpoint.served.encoding import PromptEncoder
from llm_endpoint.served.folder import (
    ADAPTER_CONFIG,
    MANIFEST_FILE,
    ServedModel,
    has_chat_template,
    read_served_folder,
)
from llm_endpoint.served.prompt import Prompt
from llm_endpoint.settings import Settings

WEIGHTS_FILE = "adapter_model.safetensors"


@dataclass(frozen=True)
class BaseModel:
    """The model under the adapters, and how it reads texts."""

    served: ServedModel
    encoder: PromptEncoder
    configured: str
    """As MODEL names it."""

    @cached_property
    def weights_sha256(self) -> str:
        """Of config and weights, as a training records it of its base."""
        digest = hashlib.sha256()
        folder = self.served.folder
        for path in sorted([*folder.glob("config.json"), *folder.glob("*.safetensors")]):
            digest.update(f"{path.name}\0{_hash(path)}\n".encode())
        return digest.hexdigest()

    @property
    def hub_id(self) -> str:
        """Of MODEL without its revision; a folder's path where it is one."""
        return self.configured.removeprefix("hf://").partition("@")[0]

    def names(self) -> set[str]:
        """What a plain adapter may call it."""
        return {self.served.name, self.hub_id, str(self.served.folder)}


@dataclass(frozen=True)
class AdapterModel:
    """An adapter's folder with all that its answers need beside the weights."""

    served: ServedModel
    variant: Variant
    """Without the weights."""

    @property
    def prompt(self) -> Prompt:
        """Asks its questions."""
        return self.served.prompt


def open_adapter(folder: Path, base: BaseModel, settings: Settings) -> AdapterModel:
    """Check an adapter's folder against the base that is served.

    A folder of ours brings tokenizer, prompt and stop rule. What a plain peft folder lacks of them is the base's.

    Raises:
        ModelError: Naming what is wrong and the remedy.
    """
    if not (folder / ADAPTER_CONFIG).is_file() or not (folder / WEIGHTS_FILE).is_file():
        raise ModelError(
            f"{folder} holds no {ADAPTER_CONFIG} with {WEIGHTS_FILE}. Name the folder of an adapter: train with "
            "lora.merge_lora_weights=false, or save one with peft."
        )
    served = read_served_folder(folder, settings, base=base.served.folder)
    if served.head is not None:
        raise ModelError(f"{folder} is an adapter with a head. Serve it alone: set MODEL to it.")
    if served.info:
        _check_manifest(folder)
    _check_base(served, base)
    if served.info:
        encoder = PromptEncoder(folder, served.prompt.chat_template)
        return AdapterModel(served, Variant(_fitting(encoder, base, folder), served.one_line))
    return _plain_adapter(served, base)


def _plain_adapter(served: ServedModel, base: BaseModel) -> AdapterModel:
    known, encoder = base.served, base.encoder
    prompt, one_line = known.prompt, known.one_line
    if (served.folder / "tokenizer.json").is_file() and (served.folder / "tokenizer_config.json").is_file():
        if not known.info:
            chat = has_chat_template(served.folder)
            prompt, one_line = Prompt(prompt.template, chat, prompt.no_answer_text), not chat
        own = served.folder if has_chat_template(served.folder) or not prompt.chat_template else None
        if own:
            encoder = _fitting(PromptEncoder(own, prompt.chat_template), base, own)
            # generation_config.json, which names more ends, stands with the base
            encoder.stop_ids |= base.encoder.stop_ids
    penalty = known.repetition_penalty
    whole = replace(served, prompt=prompt, one_line=one_line, repetition_penalty=penalty)
    return AdapterModel(whole, Variant(encoder, one_line))


def _fitting(encoder: PromptEncoder, base: BaseModel, folder: Path) -> PromptEncoder:
    config = base.served.config
    known = config.get("text_config", config).get("vocab_size")
    if known and encoder.tokenizer.get_vocab_size() > known:
        raise ModelError(
            f"the tokenizer in {folder} has {encoder.tokenizer.get_vocab_size()} tokens and the served base {known}: "
            "tokens were added for the training. Merge the adapter into its base and serve that as MODEL."
        )
    return encoder


def _check_base(served: ServedModel, base: BaseModel) -> None:
    """Raise unless the adapter was trained on the base that is served."""
    ours: dict[str, Any] = served.info.get("base_model", {})
    wanted = str(ours.get("weights_sha256") or "")
    if wanted:
        if wanted != base.weights_sha256:
            raise ModelError(
                f"{served.folder} is an adapter for {ours.get('id', 'another model')} with weights {wanted[:12]}; "
                f"{base.served.name} is served, with weights {base.weights_sha256[:12]}. Serve its own base as MODEL."
            )
        return
    config = json.loads((served.folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    name = str(config.get("base_model_name_or_path") or "")
    here = str(Path(name).resolve()) if name and Path(name).is_dir() else name
    commit = str(config.get("revision") or "")
    elsewhere = len(commit) == 40 and len(base.served.revision) == 12 and not commit.startswith(base.served.revision)
    if here not in base.names() or (here == base.hub_id and elsewhere):
        raise ModelError(
            f"{served.folder} is an adapter for {name or 'an unnamed model'}; {base.configured} is served. Serve its "
            f"own base as MODEL; if it is the same, write that name into base_model_name_or_path of {ADAPTER_CONFIG}."
        )


def _check_manifest(folder: Path) -> None:
    """Raise unless the weights are those of the manifest, byte by byte; sizes have been looked at."""
    files = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))["files"]
    for name in (WEIGHTS_FILE, ADAPTER_CONFIG):
        if files.get(name, {}).get("sha256") != _hash(folder / name):
            raise ModelError(f"{folder / name} is not the file that was published. Publish the model folder again.")


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
