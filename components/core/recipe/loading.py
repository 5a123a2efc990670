"""Reading a recipe: defaults < model-specific defaults < recipe file < command line, with the origin of each value."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from components.core.errors import ConfigError
from components.core.recipe.deepspeed import with_content
from components.core.recipe.model_catalogue import CatalogueModel, find_model, read_catalogue
from components.core.recipe.section import Section
from components.core.recipe.sections import Recipe
from components.core.recipe.yaml_file import read_yaml

Origins = dict[str, str]
"""Dotted key to where its value came from."""


@dataclass(frozen=True)
class LoadedRecipe:
    """A checked recipe and the origin of every value in it."""

    recipe: Recipe
    origins: Origins
    model: CatalogueModel | None = None
    """The base model, where the catalogue has it."""
    warnings: tuple[str, ...] = ()
    """Values of the user that a model's defaults took the place of."""

    def lines(self) -> Iterator[str]:
        """One printable line for each value, `key = value  (origin)`."""
        for key, value in flatten(self.recipe.model_dump(mode="json")):
            yield f"{key} = {value!r}  ({self.origins.get(key, 'default')})"


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of a nested mapping as dotted keys; an empty mapping is a leaf."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def load_recipe(
    path: Path | None, overrides: Sequence[str], catalogue: Path | None = None, model_wins: bool = False
) -> LoadedRecipe:
    """Read a recipe file and command-line overrides into one checked recipe.

    Args:
        path: YAML file with sections; None takes the defaults.
        overrides: `section.key=value` strings; they win over everything else.
        catalogue: Folder of model files; the defaults of the chosen model win over the global ones.
        model_wins: The older rule, by which they win over what the user set, too; each such value is warned of.

    Raises:
        ConfigError: With all problems at once: unknown keys, wrong types, impossible combinations.
    """
    user, origins = read_user(path, overrides)
    return build_recipe(user, origins, read_catalogue(catalogue) if catalogue else (), model_wins)


def read_user(
    path: Path | None, overrides: Sequence[str], sections: Collection[str] = tuple(Recipe.model_fields)
) -> tuple[dict[str, Any], Origins]:
    """What a user set: sections with keys, nothing checked yet, and where each came from.

    Args:
        path: YAML file with sections; None takes the command line only.
        overrides: `section.key=value` strings.
        sections: Names for the message about a file that has none.

    Raises:
        ConfigError: If the file or an override cannot be read.
    """
    user: dict[str, Any] = {}
    origins: Origins = {}
    if path is not None:
        _merge(user, _read_yaml(path, sections), f"recipe {path.name}", origins)
    for override in overrides:
        _merge(user, parse_override(override), "command line", origins)
    return user, origins


def build_recipe(
    user: dict[str, Any], origins: Origins, models: tuple[CatalogueModel, ...], model_wins: bool = False
) -> LoadedRecipe:
    """What a user set, as a checked recipe.

    Args:
        user: Sections with the keys that the user set.
        origins: Where each of them came from.
        models: The catalogue.
        model_wins: As in `load_recipe`.

    Raises:
        ConfigError: With all problems at once.
    """
    model_section = user.get("model")
    model_id = model_section.get("model_id") if isinstance(model_section, Mapping) else None
    model = find_model(models, str(model_id or Recipe().model.model_id))
    tree: dict[str, Any] = {}
    all_origins: Origins = {}
    warnings: list[str] = []
    if model:
        origin = f"model {model.model_id}"
        _merge(tree, model.facts(), origin, all_origins)
        _merge(tree, model.sections(), origin, all_origins)
        if "training.tokens_per_batch" in origins and tree.get("training", {}).pop("per_device_train_batch_size", None):
            # else the model's way to fill a batch would win over the user's
            del all_origins["training.per_device_train_batch_size"]
    _merge(tree, user, "", all_origins)
    all_origins.update(origins)
    if model and isinstance(model_section, Mapping) and model_id:
        tree["model"]["model_id"] = model.model_id
    if model and model_wins:
        warnings = _overrule(tree, model.sections(), f"model {model.model_id}", all_origins)
    try:
        recipe = Recipe.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(error, all_origins))) from error
    _check_combinations(recipe, all_origins)
    return LoadedRecipe(with_content(recipe), all_origins, model, tuple(warnings))


def _overrule(tree: dict[str, Any], defaults: Mapping[str, Any], origin: str, origins: Origins) -> list[str]:
    """Put the model's defaults over what the user set, and say which values are lost."""
    before = dict(flatten(tree))
    lost = [
        f"{key}={before[key]!r} ({origins[key]}) gives way to {value!r} ({origin}), because model defaults win"
        for key, value in flatten(defaults)
        if origins.get(key, origin) != origin and before.get(key) != value
    ]
    _merge(tree, defaults, origin, origins)
    return lost


def _read_yaml(path: Path, sections: Collection[str]) -> dict[str, Any]:
    tree = read_yaml(path, "the path", "sections with `key: value` lines below them", "recipe")
    if tree is None:
        return {}
    if not isinstance(tree, dict) or not all(isinstance(section, dict) for section in tree.values()):
        raise ConfigError(f"{path} must hold sections ({', '.join(sections)}), each with `key: value` lines.")
    return tree


def parse_override(text: str) -> dict[str, Any]:
    """`section.key=value` as a nested mapping; the value stays text unless it is YAML for a list, map or null."""
    key, separator, value = text.partition("=")
    parts = key.strip().split(".")
    if not separator or len(parts) < 2 or not all(parts):
        raise ConfigError(f"cannot read {text!r}. Write section.key=value, for example training.learning_rate=2e-5.")
    parsed: Any = value
    if value.strip().lower() in {"null", "none", "~"}:
        parsed = None
    elif value.strip()[:1] in {"[", "{"}:
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"the value of {key} is not a valid list or map: {value}") from error
    for part in reversed(parts):
        parsed = {part: parsed}
    return parsed  # type: ignore[no-any-return]


def _merge(tree: dict[str, Any], update: Mapping[str, Any], origin: str, origins: Origins, prefix: str = "") -> None:
    for key, value in update.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            if not isinstance(tree.get(key), dict):
                tree[key] = {}
            _merge(tree[key], value, origin, origins, f"{dotted}.")
        else:
            tree[key] = value
            origins[dotted] = origin


def explain(error: ValidationError, origins: Origins, whole: type[Section] = Recipe) -> Iterator[str]:
    """One line for each problem, with the key, where its value came from, and the nearest key for an unknown one."""
    for problem in error.errors(include_url=False):
        parts = [str(part) for part in problem["loc"]]
        key = ".".join(part for part in parts if not re.match(r"(function-|literal\[|constrained-|list\[|str$)", part))
        origin = origins.get(key, "")
        where = f" ({origin})" if origin else ""
        if problem["type"] == "extra_forbidden":
            yield f"unknown key {key}{where}.{_nearest(key, whole)}"
        else:
            message = problem["msg"].removeprefix("Value error, ")
            yield f"{key}={problem['input']!r}{where}: {message}."


def _nearest(key: str, whole: type[Section]) -> str:
    from difflib import get_close_matches

    section, _, name = key.partition(".")
    if section not in whole.model_fields:
        near = get_close_matches(section, list(whole.model_fields), n=1)
        return f" Did you mean {near[0]}?" if near else f" The sections are {', '.join(whole.model_fields)}."
    kind = whole.model_fields[section].annotation
    names = list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, Section) else []
    near = get_close_matches(name, names, n=1)
    return f" Did you mean {section}.{near[0]}?" if near else f" {section} has {', '.join(names)}."


def _check_combinations(recipe: Recipe, origins: Origins) -> None:
    """Refuse values that are each fine and together impossible; only values that the user set can collide."""
    problems = []
    by_user = {key for key, origin in origins.items() if not origin.startswith("model ")}
    adapter_keys = sorted(key for key in by_user if key.startswith("lora."))
    if recipe.training.method == "full" and adapter_keys:
        problems.append(
            f"training.method=full has no adapter, yet {', '.join(adapter_keys)} is set. Remove one of them."
        )
    if recipe.gpu.count == 0 and recipe.gpu.product:
        problems.append(
            f"gpu.count=0 is a CPU run, yet gpu.product={recipe.gpu.product} asks for a GPU. Remove one of them."
        )
    if recipe.training.quantized_bits and recipe.training.method == "full":
        problems.append(
            f"training.precision={recipe.training.precision} trains an adapter on a quantized base (QLoRA), yet "
            "training.method=full has no adapter. Set training.method=lora, or training.precision to 16."
        )
    if recipe.training.quantized_bits and recipe.gpu.count == 0:
        problems.append(
            f"training.precision={recipe.training.precision} (QLoRA) needs a CUDA GPU, yet gpu.count=0 is a CPU run. "
            "Set training.precision=auto, or gpu.count to 1 or more."
        )
    if recipe.training.quantized_bits and recipe.training.apply_deepspeed:
        problems.append(
            f"training.precision={recipe.training.precision} (QLoRA) is not trained with DeepSpeed, yet "
            "training.apply_deepspeed=true. Set it to false, or training.precision to 16."
        )
    if recipe.gpu.num_nodes > 1 and not recipe.resources.checkpoint_volume:
        problems.append(
            f"gpu.num_nodes={recipe.gpu.num_nodes} needs a volume that all nodes mount (ReadWriteMany), yet "
            "resources.checkpoint_volume is none. Name one."
        )
    if (
        recipe.training.per_device_train_batch_size
        and {
            "training.per_device_train_batch_size",
            "training.tokens_per_batch",
        }
        <= by_user
    ):
        problems.append(
            "training.per_device_train_batch_size and training.tokens_per_batch both set the batch. Remove one of them."
        )
    if recipe.evaluation.max_new_tokens >= recipe.tokens.max_seq_length:
        problems.append(
            f"evaluation.max_new_tokens={recipe.evaluation.max_new_tokens} leaves no room for a prompt within "
            f"tokens.max_seq_length={recipe.tokens.max_seq_length}. Lower the first or raise the second."
        )
    for section, name in (("model", "model_id"), ("data", "dataset_id")):
        values = getattr(recipe, section)
        if values.revision and getattr(values, name) == "starter":
            problems.append(
                f"{section}.revision={values.revision} needs a Hub id in {section}.{name}; `starter` has none."
            )
    if problems:
        raise ConfigError("\n".join(problems))
