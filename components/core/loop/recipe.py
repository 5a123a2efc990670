"""The recipe of a loop: the tools' sections beside those of the retraining, each value with its origin.

What the loop hands from step to step (which rows, which model, where results go) is no key of a tool's section here: it
has one place, in `loop` and `model`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from components.core.errors import ConfigError
from components.core.judging import JudgeConfig
from components.core.loop.config import LoopConfig, ReferenceConfig
from components.core.loop.reference import resolve
from components.core.recipe import LoadedRecipe, Recipe, Section, build_recipe, flatten, read_catalogue
from components.core.recipe.loading import Origins, explain, read_user
from components.core.responses import BatchInferenceConfig
from components.core.service_llm import ServiceLLMConfig, open_service_llm
from components.core.settings import Settings
from components.core.synthesis import DataGenConfig

GIVEN: dict[str, dict[str, str]] = {
    "inference": {
        "ft_model_id": "model.model_id",
        "ft_model_revision": "model.revision",
        "test_ds_id": "reference.dataset_id",
        "test_ds_split": "reference.test_split",
        "push_lm_responses_to_hf_hub": "",
        "lm_response_ds_id": "",
        "lm_response_ds_split": "",
        "lm_response_append": "",
    },
    "judge": {
        "lm_response_ds_id": "",
        "lm_response_ds_split": "",
        "eval_ds_id": "",
        "eval_ds_split": "",
        "eval_ds_append": "",
        "push_eval_to_hf_hub": "",
        "resume": "",
    },
    "data_gen": {
        "reference_ds_id": "reference.dataset_id",
        "reference_ds_split": "reference.train_split",
        "failed_ds_id": "",
        "failed_ds_split": "",
        "avg_similarity_threshold": "judge.avg_similarity_threshold",
        "avg_precision_threshold": "judge.avg_precision_threshold",
        "test_ds_id": "reference.dataset_id",
        "test_ds_split": "reference.test_split",
        "synth_ds_id": "",
        "synth_ds_split": "",
        "synth_ds_append": "",
        "push_synth_ds_to_hf_hub": "",
        "resume": "",
    },
    "data": {
        "dataset_id": "reference.dataset_id",
        "train_split": "reference.train_split",
        "test_split": "reference.test_split",
        "test_file": "reference.dataset_id",
        "validation_file": "",
        "subset": "",
        "revision": "",
        "columns": "",
    },
}
"""Keys that the loop sets itself, by section, each with the key that says it instead (empty where none does)."""
_TOOLS: dict[str, type[Section]] = {"inference": BatchInferenceConfig, "judge": JudgeConfig, "data_gen": DataGenConfig}
_SERVICE = tuple(ServiceLLMConfig.model_fields)
_PLACE = {"ft_model_id": "model", "reference_ds_id": "rows", "synth_ds_id": "rows"}
"""What stands for a key that must be given, until the step fills it in."""
_OWN_DEFAULTS = {"task.name": "chat_completion", "gate.metric": "loss", "gate.champion": "ignore"}
"""Of the retraining, where a loop's default is another one."""


class LoopSections(Section):
    """The sections of a loop that a fine-tuning has not; whole for the names in messages."""

    reference: ReferenceConfig = ReferenceConfig()
    loop: LoopConfig = LoopConfig()
    inference: BatchInferenceConfig
    judge: JudgeConfig
    data_gen: DataGenConfig


@dataclass(frozen=True)
class LoopRecipe:
    """Everything that a loop is told."""

    reference: ReferenceConfig
    loop: LoopConfig
    inference: dict[str, Any]
    """Keys of BatchInferenceConfig without those that the loop sets."""
    judge: dict[str, Any]
    """Of JudgeConfig, likewise."""
    data_gen: dict[str, Any]
    """Of DataGenConfig, likewise."""
    loaded: LoadedRecipe
    """Of the retraining."""
    origins: Origins

    @property
    def recipe(self) -> Recipe:
        """The sections of the retraining."""
        return self.loaded.recipe

    def sections(self) -> dict[str, dict[str, Any]]:
        """All sections as plain values; what is none is left out, since a pipeline knows no null."""
        own = {"reference": self.reference.model_dump(mode="json")}
        own["loop"] = self.loop.model_dump(mode="json", exclude_none=True)
        for name in _TOOLS:
            own[name] = {key: value for key, value in getattr(self, name).items() if value is not None}
        return own | self.recipe.model_dump(mode="json", exclude_none=True)

    def lines(self) -> Iterator[str]:
        """One printable line for each value that the user may set, `key = value  (origin)`."""
        own: dict[str, Any] = {name: getattr(self, name).model_dump(mode="json") for name in ("reference", "loop")}
        own |= {name: getattr(self, name) for name in _TOOLS}
        for key, value in flatten(own | self.recipe.model_dump(mode="json")):
            section, _, name = key.partition(".")
            if name.split(".")[0] not in GIVEN.get(section, ()):
                yield f"{key} = {value!r}  ({self.origins.get(key, 'default')})"


def load_loop(path: Path | None, overrides: Sequence[str], catalogue: Path | None = None) -> LoopRecipe:
    """Read a recipe file and command-line overrides into one checked recipe of a loop.

    Args:
        path: YAML file with sections; None takes the defaults.
        overrides: `section.key=value` strings; they win over everything else.
        catalogue: Folder of model files with their defaults.

    Raises:
        ConfigError: With all problems of a kind at once: keys that the loop sets itself, unknown keys, wrong types.
    """
    user, origins = read_user(path, overrides, (*LoopSections.model_fields, *Recipe.model_fields))
    _refuse_unknown(user)
    _refuse_given(user, origins)
    own = {name: user.pop(name, {}) for name in LoopSections.model_fields}
    _share_service(own, origins)
    sections = _check(own, origins)
    _put_defaults(user, origins, sections.reference)
    loaded = build_recipe(user, origins, read_catalogue(catalogue) if catalogue else ())
    if loaded.recipe.task.name != "chat_completion":
        raise ConfigError(f"task.name={loaded.recipe.task.name}: a loop trains conversations only; leave it out.")
    tools = {name: _without_given(name, getattr(sections, name)) for name in _TOOLS}
    _check_prices(sections)
    return LoopRecipe(
        reference=sections.reference, loop=sections.loop, loaded=loaded, origins=loaded.origins | origins, **tools
    )


def _refuse_unknown(user: Mapping[str, Any]) -> None:
    known = [*LoopSections.model_fields, *Recipe.model_fields]
    problems = []
    for name in sorted(set(user) - set(known)):
        near = get_close_matches(name, known, n=1)
        said = f"Did you mean {near[0]}?" if near else f"The sections are {', '.join(known)}."
        problems.append(f"unknown section {name}. {said}")
    if problems:
        raise ConfigError("\n".join(problems))


def _refuse_given(user: Mapping[str, Any], origins: Origins) -> None:
    problems = []
    for section, keys in GIVEN.items():
        for key in keys.keys() & set(user.get(section) or {}):
            said = f"Set {keys[key]} instead." if keys[key] else "Remove it."
            problems.append(
                f"{section}.{key} ({origins.get(f'{section}.{key}', 'recipe')}) is the loop's to set. {said}"
            )
    if problems:
        raise ConfigError("\n".join(sorted(problems)))


def _share_service(own: dict[str, dict[str, Any]], origins: Origins) -> None:
    """The generator is the judge's service LLM, in all that `data_gen` does not say otherwise."""
    judge, generator = own["judge"] or {}, own["data_gen"] or {}
    if "provider" in generator or "model" in generator:
        return
    for key in ("provider", "model", "base_url", "price_per_million_input", "price_per_million_output"):
        if key in judge and key not in generator:
            generator[key] = judge[key]
            origins[f"data_gen.{key}"] = "judge"
    own["data_gen"] = generator


def _check(own: Mapping[str, Any], origins: Origins) -> LoopSections:
    tree = {name: own[name] or {} for name in ("reference", "loop")}
    for name, kind in _TOOLS.items():
        needed = {key: _PLACE.get(key, "rows") for key, field in kind.model_fields.items() if field.is_required()}
        tree[name] = needed | dict(own[name] or {})
    try:
        return LoopSections.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("\n".join(explain(error, origins, LoopSections))) from error


def _put_defaults(user: dict[str, Any], origins: Origins, reference: ReferenceConfig) -> None:
    """What a loop sets of the retraining; a user's own value stands where there may be one."""
    found = resolve(reference)
    given = {
        "data.dataset_id": (reference.dataset_id, "reference.dataset_id"),
        "data.train_split": (found.train_split, "reference.train_split"),
        "data.test_split": (found.test_split, "reference.test_split"),
    }
    given |= {key: (value, "loop") for key, value in _OWN_DEFAULTS.items() if key not in origins}
    for key, (value, origin) in given.items():
        section, _, name = key.partition(".")
        if not isinstance(user.get(section), dict):
            user[section] = {}
        user[section][name] = value
        origins[key] = origin


def _without_given(name: str, section: Section) -> dict[str, Any]:
    return {key: value for key, value in section.model_dump(mode="json").items() if key not in GIVEN[name]}


def _check_prices(sections: LoopSections) -> None:
    judge = sections.judge
    if sections.loop.max_usd is not None and not (judge.price_per_million_input or judge.price_per_million_output):
        raise ConfigError(
            f"loop.max_usd={sections.loop.max_usd:g} needs the service LLM's prices. Set judge.price_per_million_input "
            "and judge.price_per_million_output (USD), or limit loop.max_calls instead."
        )


def check_service(loop: LoopRecipe, settings: Settings) -> None:
    """Make sure, before anything runs here, that judge and generator can be asked.

    Raises:
        ConfigError: If the environment has no API key for one of them; the message says what to set.
    """
    for name in ("judge", "data_gen"):
        values = getattr(loop, name)
        config = ServiceLLMConfig.model_validate({key: values[key] for key in _SERVICE if key in values})
        try:
            open_service_llm(config, settings)
        except ConfigError as error:
            raise ConfigError(
                f"{name}: {error} Or name another service: {name}.provider=openai {name}.model=NAME "
                f"{name}.base_url=http://... for any OpenAI-compatible server."
            ) from error
