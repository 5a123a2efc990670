"""The base model of a head: whether it can carry one, what its tokenizer asks for, and copies of both."""

import shutil
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

from components.core.catalogue.values import ALL
from components.core.data.new_folder import link_file, new_folder
from components.core.data.tokens import choose_pad_token
from components.core.errors import ConfigError, StorageError
from components.core.heads.folders import PRETRAINED_FOLDER, TOKENIZER_FOLDER
from components.core.recipe import ModelConfig
from components.core.registry.base_model import (
    CONFIG_FILES,
    WEIGHT_FILES,
    ResolvedModel,
    read_tokenizer,
    resolve_config,
    resolve_model,
    tokenizer_files,
)
from components.core.settings import Settings
from components.core.tasks.heads import HeadKind, pair_joiner

_NO_LIMIT = 10**9
"""A tokenizer without a limit of its own states a huge number."""
_LEFT_OUT = ("adapter_", "consolidated")
_POSITIONS_BEHIND_PAD = {
    "camembert", "data2vec-text", "ibert", "longformer", "luke", "mpnet", "roberta", "roberta-prelayernorm",
    "xlm-roberta", "xlm-roberta-xl", "xmod",
}  # fmt: skip
"""Models that number the first token's position one past the pad token's id, so that they read fewer tokens than they
have positions."""


@dataclass(frozen=True)
class Base:
    """A base model that can carry the head."""

    resolved: ResolvedModel
    model_id: str
    tokenizer: Any
    """Of transformers."""
    config: Any
    pad_token_id: int
    token_type_ids: bool
    pair_joiner: str | None
    longest: int | None
    """Tokens that it reads at most; None where nothing says."""


def check_base(model: ModelConfig, kind: HeadKind, settings: Settings) -> None:
    """Refuse a model that cannot carry the head, before its weights are downloaded.

    Raises:
        StorageError: If its config cannot be found or read.
        ConfigError: If transformers has no such head for it.
    """
    _model_arguments(_read_config(resolve_config(model, settings).path, model.model_id), kind, model.model_id)


def open_base(model: ModelConfig, kind: HeadKind, settings: Settings) -> Base:
    """Find the base model, and hold it against what a head needs.

    Raises:
        StorageError: If it cannot be found or read, or has no tokenizer that the tokenizers library reads.
        ConfigError: If transformers has no such head for it, or its vocabulary does not fit its tokenizer.
    """
    resolved = resolve_model(model, settings)
    config = _read_config(resolved.path, model.model_id)
    takes = _model_arguments(config, kind, model.model_id)
    tokenizer = read_tokenizer(resolved.path)
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise StorageError(
            f"{model.model_id} has no tokenizer.json, and its {type(tokenizer).__name__} cannot be turned into one. "
            "Choose a model with a fast tokenizer."
        )
    pad_token_id, _ = choose_pad_token(tokenizer)
    _check_vocabulary(tokenizer, config, pad_token_id, model.model_id)
    # a tokenizer of no special class claims them for models that have none, or that would read them as words
    types = "token_type_ids" in takes and getattr(config, "type_vocab_size", 0) > 1
    return Base(
        resolved=resolved,
        model_id=model.model_id,
        tokenizer=tokenizer,
        config=config,
        pad_token_id=pad_token_id,
        token_type_ids=types and "token_type_ids" in tokenizer.model_input_names,
        pair_joiner=pair_joiner(tokenizer),
        longest=_longest(resolved, tokenizer, config),
    )


def choose_length(wanted: int, base: Base) -> tuple[int, str]:
    """Tokens of an input, and a note where these are fewer than was asked for.

    Args:
        wanted: `max_seq_length`; -1 is the model's maximum.
        base: The model.

    Raises:
        ConfigError: If the model's maximum is asked for and nothing says what it is.
    """
    if wanted == ALL and base.longest is None:
        raise ConfigError(
            f"max_seq_length=-1: neither config nor tokenizer of {base.model_id} says how many tokens it reads. "
            "Set max_seq_length to a number, 512 for example."
        )
    if base.longest is None or ALL < wanted <= base.longest:
        return wanted, ""
    note = f"max_seq_length={wanted} is lowered to {base.longest}, the most that {base.model_id} reads"
    return base.longest, "" if wanted == ALL else note


def copy_tokenizer(base: Base, output_dir: Path) -> Path:
    """Put the tokenizer into `tokenizer/`; one without tokenizer.json or its config gets them.

    Raises:
        StorageError: If it cannot be written.
    """
    files = tokenizer_files(base.resolved.path)
    with new_folder(output_dir / TOKENIZER_FOLDER) as folder:
        if not {"tokenizer.json", "tokenizer_config.json"} <= {file.name for file in files}:
            base.tokenizer.save_pretrained(folder)
        for file in files:
            shutil.copyfile(file, folder / file.name)
    return output_dir / TOKENIZER_FOLDER


def copy_model(base: Base, tokenizer_dir: Path, output_dir: Path) -> Path:
    """Put config, safetensors weights and tokenizer into `pretrained_model/`, weights hard-linked where possible.

    Raises:
        StorageError: If it cannot be written.
    """
    source = base.resolved.path
    weights = {file for pattern in WEIGHT_FILES for file in source.glob(pattern)}
    with new_folder(output_dir / PRETRAINED_FOLDER) as folder:
        for name in CONFIG_FILES:
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)
        for file in sorted(tokenizer_dir.iterdir()):
            shutil.copyfile(file, folder / file.name)
        for file in sorted(weights):
            if not file.name.startswith(_LEFT_OUT):
                link_file(file, folder / file.name)
    return output_dir / PRETRAINED_FOLDER


def _read_config(folder: Path, model_id: str) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # a type that is not known, or that would need code of its own: each fails in its way
        reason = " ".join(str(error).split())[:200]
        if "trust_remote_code" in str(error):
            reason = "it needs code that comes with it, which is never run"
        raise ConfigError(
            f"transformers cannot read the config of {model_id}: {reason}. Choose another model."
        ) from error


def _model_arguments(config: Any, kind: HeadKind, model_id: str) -> set[str]:
    """What the model with its head can be given."""
    import transformers
    from transformers.models.auto import modeling_auto

    names: dict[str, Any] = {
        "sequence": modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
        "token": modeling_auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
    }[kind]
    name = names.get(config.model_type)
    if name is None:
        raise ConfigError(
            f"{model_id} is a {config.model_type} model, for which transformers has no {kind} classification head. "
            "Choose another, for example one of the types bert, roberta, deberta-v2, modernbert, llama or qwen2."
        )
    model_class = getattr(transformers, name if isinstance(name, str) else name[0])
    return set(signature(model_class.forward).parameters)


def _check_vocabulary(tokenizer: Any, config: Any, pad_token_id: int, model_id: str) -> None:
    """Raise if ids that any text may get are outside of the model's embeddings."""
    size = getattr(config, "vocab_size", None) or getattr(config.get_text_config(), "vocab_size", None)
    if not isinstance(size, int):
        return
    used = [tokenizer.backend_tokenizer.get_vocab_size(with_added_tokens=False) - 1, pad_token_id]
    used += tokenizer("a")["input_ids"]
    if max(used) >= size:
        raise ConfigError(
            f"the tokenizer of {model_id} gives ids up to {max(used)}, yet the model has {size} embeddings. "
            "Choose a model that belongs to its tokenizer, or save it again with resized embeddings."
        )


def _longest(resolved: ResolvedModel, tokenizer: Any, config: Any) -> int | None:
    positions = resolved.max_positions
    if positions and config.model_type in _POSITIONS_BEHIND_PAD:
        pad = getattr(config, "pad_token_id", None)
        positions -= (1 if pad is None else pad) + 1
    known = [limit for limit in (positions, int(min(tokenizer.model_max_length, _NO_LIMIT))) if limit]
    limits = [limit for limit in known if 0 < limit < _NO_LIMIT]
    return min(limits, default=None)
