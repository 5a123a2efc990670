"""The model catalogue: what is known of a base model, and the defaults that come with it.

One YAML file for each model (`llm-pipelines/recipes/models/`). A fact that could not be looked up is left out.
"""

import ast
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field, StringConstraints, ValidationError, field_validator

from components.core.errors import ConfigError
from components.core.recipe.parameter_names import PARAMETER_KEYS, sections_of
from components.core.recipe.section import Section
from components.core.recipe.sections import Recipe

LATEST = "latest"
"""Label of the revision that the catalogue names."""
STARTER = "starter"
HUB_HEAD = "main"
"""Version of a model whose file pins no revision."""


def parse_allow_list(value: Any) -> tuple[str, ...] | None:
    """A compute allow list from a tag: a list, or a list written as a Python literal; None where there is none.

    Raises:
        ValueError: If it is anything else. It is read as a literal, so that no text of a tag is ever run.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
            raise ValueError("is not a list written as a literal, such as ['L4', 'A100']") from error
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) and each.strip() for each in value):
        raise ValueError("must be a list of GPU names, such as ['L4', 'A100']")
    return tuple(each.strip() for each in value)


AllowList = Annotated[tuple[str, ...] | None, BeforeValidator(parse_allow_list)]
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class BaselineScore(Section):
    """What somebody measured of the base model."""

    benchmark: Text
    """With its setting, for example `MMLU (5-shot)`."""
    score: float
    """As the source gives it; mostly percent."""
    source: Text
    """Who says so."""


class CatalogueModel(Section):
    """One base model."""

    model_id: Text
    """Hub id, or `starter`."""
    name: str = ""
    """Short name; none takes the last part of the id."""
    aliases: tuple[Text, ...] = ()
    """Other short names."""
    revision: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")] | None = None
    """Commit on the Hub that is used unless the user names another; none is the head of `main`."""
    license: str = ""
    """Tag of the licence on the Hub."""
    gated: bool = False
    """Whether its terms must be accepted on the Hub, with HF_TOKEN of that account."""
    family: str = ""
    """Architecture, as `model_type` in config.json has it."""
    lora_target_modules: tuple[Text, ...] | None = None
    """Layers that get an adapter; none takes all linear layers but the output."""
    chat_template: str = ""
    """Where the chat template comes from; empty if the model has none."""
    context_length: Annotated[int, Field(ge=1)] | None = None
    """Longest sequence, in tokens (`max_position_embeddings`)."""
    parameter_count: Annotated[int, Field(ge=1)] | None = None
    """Weights, shared ones counted once."""
    finetune_compute_allow_list: AllowList = None
    """GPUs that a LoRA fine-tuning at up to 4096 tokens fits on; none holds a GPU against the deny list instead."""
    inference_compute_allow_list: AllowList = None
    """GPUs that the 16-bit weights can be served from."""
    model_specific_defaults: dict[str, Any] = {}
    """Parameters of finetune_chat_completion by name, and recipe sections; both replace global defaults."""
    baseline: tuple[BaselineScore, ...] = ()
    """Published scores."""

    @field_validator("model_specific_defaults", mode="before")
    @classmethod
    def _knows_every_name(cls, defaults: Any) -> Any:
        if defaults is None:
            return {}
        known = [*Recipe.model_fields, *PARAMETER_KEYS]
        unknown = [str(name) for name in defaults if name not in known] if isinstance(defaults, Mapping) else []
        if unknown:
            near = get_close_matches(unknown[0], known, n=1)
            hint = f"; did you mean {near[0]}" if near else ""
            raise ValueError(f"{', '.join(unknown)} is neither a section nor a parameter of fine-tuning{hint}")
        flat = [name for name in Recipe.model_fields if not isinstance((defaults or {}).get(name, {}), Mapping)]
        if flat:
            raise ValueError(f"{', '.join(flat)} is a section: write `key: value` lines below it")
        return defaults

    @property
    def short_name(self) -> str:
        """What it is called in names of experiments, runs and endpoints."""
        return self.name or self.model_id.rpartition("/")[2]

    @property
    def version(self) -> str:
        """The revision that `latest` means."""
        return self.revision or (HUB_HEAD if "/" in self.model_id else self.model_id)

    @property
    def address(self) -> str:
        """Where it is, with its revision."""
        return f"hf://{self.model_id}@{self.version}" if "/" in self.model_id else self.model_id

    def is_called(self, name: str) -> bool:
        """Whether a user can mean this model, in any case."""
        return name.lower() in {each.lower() for each in (self.model_id, self.short_name, *self.aliases)}

    def parameters(self) -> dict[str, Any]:
        """Those defaults that are parameters of fine-tuning, by name."""
        return {name: value for name, value in self.model_specific_defaults.items() if name in PARAMETER_KEYS}

    def sections(self) -> dict[str, dict[str, Any]]:
        """All defaults as sections of a recipe; what a file says by section wins over its parameters."""
        sections = sections_of(self.parameters())
        for name, values in self.model_specific_defaults.items():
            if name in Recipe.model_fields:
                sections[name] = sections.get(name, {}) | dict(values)
        return sections

    def facts(self) -> dict[str, dict[str, Any]]:
        """What a recipe takes over from the file beside its defaults."""
        targets = list(self.lora_target_modules) if self.lora_target_modules else None
        found: dict[str, dict[str, Any]] = {
            "model": {"revision": self.revision},
            "lora": {"target_modules": targets},
            "registry": {"license": self.license or None},
        }
        return {name: values for name, values in found.items() if None not in values.values()}

    def announcement(self) -> str:
        """The line that names the model of a fine-tuning."""
        return f"Using model name: {self.short_name}, version: {self.version}, id: {self.address} for fine tuning"


def read_catalogue(folder: Path) -> tuple[CatalogueModel, ...]:
    """All models of a folder, by file name.

    Raises:
        ConfigError: If a file cannot be read, has an unknown key or a wrong value, or two models have one name.
    """
    models = tuple(_read(path) for path in sorted(folder.glob("*.yaml")))
    owners: dict[str, str] = {}
    for model in models:
        for name in {each.lower() for each in (model.model_id, model.short_name, *model.aliases)}:
            if owners.setdefault(name, model.model_id) != model.model_id:
                raise ConfigError(f"{name} in {folder} is the name of {owners[name]} and of {model.model_id}.")
    return models


def find_model(models: tuple[CatalogueModel, ...], name: str) -> CatalogueModel | None:
    """The model that a user names by Hub id, short name or alias; a local folder of that name comes first."""
    if name != STARTER and Path(name).expanduser().is_dir():
        return None
    return next((model for model in models if model.is_called(name)), None)


def get_model(models: tuple[CatalogueModel, ...], name: str, label: str = LATEST) -> CatalogueModel:
    """The same, for a name that must be in the catalogue.

    Args:
        models: The catalogue.
        name: Hub id, short name or alias.
        label: `latest`, or a commit of the model's repository.

    Raises:
        ConfigError: If it is not there.
    """
    found = find_model(models, name)
    if found is None:
        names = [model.short_name for model in models]
        near = get_close_matches(name, names, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise ConfigError(f"{name} is not in the model catalogue. {hint}There are {', '.join(sorted(names))}.")
    if label == LATEST or label == found.revision:
        return found
    try:
        return CatalogueModel.model_validate(found.model_dump() | {"revision": label})
    except ValidationError as error:
        raise ConfigError(
            f"{name} has no version {label!r}. Use `{LATEST}` or a commit of {found.model_id} (40 hex digits)."
        ) from error


def _read(path: Path) -> CatalogueModel:
    try:
        entry = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read model file {path}: {error}") from error
    if not isinstance(entry, dict) or "model_id" not in entry:
        raise ConfigError(f"{path} must hold `model_id` and `model_specific_defaults`.")
    try:
        return CatalogueModel.model_validate(entry)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(path, error))) from error


def _explain(path: Path, error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            near = get_close_matches(key, list(CatalogueModel.model_fields), n=1)
            hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(CatalogueModel.model_fields)}."
            yield f"{path.name}: unknown key {key}. {hint}"
        else:
            yield f"{path.name}: {key}: {problem['msg'].removeprefix('Value error, ')}."
