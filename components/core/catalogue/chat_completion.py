"""Parameters of a chat-completion fine-tuning: user > model > global defaults, and the recipe that they come to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from components.core.catalogue.chat_names import dataset_stem, dataset_word, display_name
from components.core.catalogue.checking import check_parameters, read_parameters
from components.core.catalogue.finetune import FINETUNE, FinetuneParameters
from components.core.catalogue.loading import read_given
from components.core.catalogue.values import AllOr, Key, OptionalText, Parameters
from components.core.errors import ConfigError
from components.core.recipe import (
    CatalogueModel,
    EvaluationConfig,
    LoadedRecipe,
    build_recipe,
    find_model,
    flatten,
    parse_override,
    without_needless_deepspeed,
)
from components.core.recipe.parameter_names import PARAMETER_KEYS, sections_of
from components.core.registry.names import tuned_name
from components.core.registry.registered_base import RegisteredBase

TASK = "chat_completion"
LONGEST = 131_072
"""Tokens of a row where -1 asks for a model's maximum that the catalogue does not know; the model lowers it."""
DEFAULT = "default"
LONGEST_ANSWER = 200
"""Tokens of an answer that is judged, where a row is at least twice as long."""
_FROM_INPUTS = ("task.name", "data.dataset_id", "data.validation_file", "data.test_file")
"""Recipe keys that say the same as an input."""
_ROWS_OF_A_BATCH = "training.per_device_train_batch_size"
_HARMLESS = ("ignore_mismatched_sizes", "resume_from_checkpoint")
"""Parameters without a recipe key that change nothing here: there is no new head, and training always resumes."""


class ChatInputs(Parameters):
    """Where conversations come from, beside the parameters of finetune_chat_completion."""

    train_file_path: Key
    """Training conversations: a file, folder, http(s) address or Hub dataset id."""
    validation_file_path: OptionalText = None
    """Validation conversations, where they are in a file of their own; else cut from the training ones."""
    test_file_path: OptionalText = None
    """Test conversations, likewise."""
    max_seq_length: AllOr = -1
    """Tokens of a row; -1 is the model's maximum."""
    force_rerun: bool = False
    """Do every step again, also those whose inputs have not changed."""
    continue_on_step_failure: bool = False
    """A failed step, once it was tried `resources.retries` times again, ends the run; true is refused."""


@dataclass(frozen=True)
class ChatRun:
    """A checked chat-completion fine-tuning."""

    model: str
    """Short name."""
    inputs: ChatInputs
    finetune: FinetuneParameters
    origins: dict[str, str]
    """Where each parameter came from that is no default."""
    loaded: LoadedRecipe
    warnings: tuple[str, ...]

    @property
    def display_name(self) -> str:
        """What the run is called; a limit of checkpoints is named where the user set it, not where the model did."""
        word = dataset_word(self.inputs.train_file_path)
        limit = {"save_total_limit": -1} if self.origins.get("save_total_limit", "").startswith("model ") else {}
        return display_name(self.model, word, self.finetune.model_copy(update=limit), self.inputs.max_seq_length)

    def lines(self) -> Iterator[str]:
        """One printable line for each parameter: value, origin, and the recipe key that it is."""
        recipe = dict(flatten(self.loaded.recipe.model_dump(mode="json")))
        for name, value in {**self.inputs.model_dump(), **self.finetune.model_dump()}.items():
            origin, key = self.origins.get(name, DEFAULT), PARAMETER_KEYS.get(name)
            if key and origin == DEFAULT and self.loaded.origins.get(key, DEFAULT) != DEFAULT:
                # the model or the user says it as a section
                value, origin = recipe[key], self.loaded.origins[key]
            yield f"{name} = {value!r}  ({origin})" + (f"  -> {key}" if key else "")
        named = {*PARAMETER_KEYS.values(), *_FROM_INPUTS, "training.save_steps"}
        for key, value in recipe.items():
            origin = self.loaded.origins.get(key, DEFAULT)
            if origin != DEFAULT and key not in named:
                yield f"{key} = {value!r}  ({origin})"

    def unused(self) -> list[str]:
        """Parameters that differ from their default and that this training does not read."""
        fields = type(self.finetune).model_fields
        return [
            f"{name}={value!r} ({self.origins.get(name, DEFAULT)})"
            for name, value in self.finetune.model_dump().items()
            if PARAMETER_KEYS[name] is None and name not in _HARMLESS and value != fields[name].default
        ]


def load_chat_run(
    model_id: str,
    model: CatalogueModel | None,
    path: Path | None,
    overrides: Sequence[str],
    cuda: bool | None = None,
    model_wins: bool = False,
) -> ChatRun:
    """Read the parameters of a chat-completion fine-tuning into a checked run.

    Args:
        model_id: Base model: Hub id, folder, or `starter`.
        model: The same from the catalogue, where it is there.
        path: YAML file of `name: value` lines; None takes the defaults.
        overrides: `name=value` texts, which win; `section.key=value` sets a key of the recipe itself.
        cuda: Whether this machine has a CUDA device; None where the training runs elsewhere.
        model_wins: The older rule, by which the model's defaults win over the user's values, too.

    Raises:
        ConfigError: With all problems of a kind at once.
    """
    names = [each for each in overrides if "." not in each.partition("=")[0]]
    given = read_given(path, names)
    kind = FINETUNE[TASK]
    known = [*ChatInputs.model_fields, *kind.model_fields]
    unknown = [_unknown(name, known) for name in given if name not in known]
    if unknown:
        raise ConfigError("\n".join(unknown))
    defaults = model.parameters() if model else {}
    origin = f"model {model.model_id}" if model else ""
    warnings = [
        f"{name}={given[name][0]!r} ({given[name][1]}) gives way to {value!r} ({origin}), because model defaults win"
        for name, value in defaults.items()
        if model_wins and name in given and str(given[name][0]).lower() != str(value).lower()
    ]
    from_model = {name: (value, origin) for name, value in defaults.items()}
    values = given | from_model if model_wins else from_model | given
    inputs = read_parameters(ChatInputs, _named(values, ChatInputs))
    finetune = read_parameters(kind, _named(values, kind))
    check_parameters(finetune, cuda)
    if inputs.continue_on_step_failure:
        raise ConfigError(
            "continue_on_step_failure=true: each step of this pipeline reads what the one before it wrote, so none "
            "could go on after a failure. Leave it false; resources.retries says how often a failed step is tried "
            "again, and a run that is started again takes what was done from the cache."
        )
    origins = {name: where for name, (_, where) in values.items()}
    sections = [each for each in overrides if each not in names]
    short = model.short_name if model else Path(model_id).name
    loaded = _recipe(model_id, short, model, inputs, finetune, origins, sections, model_wins)
    loaded = without_needless_deepspeed(loaded, cuda)
    if loaded.recipe.training.apply_deepspeed != finetune.apply_deepspeed:
        # a section says otherwise, or there is no GPU; the run's name tells what is done
        finetune = finetune.model_copy(update={"apply_deepspeed": loaded.recipe.training.apply_deepspeed})
        origins["apply_deepspeed"] = loaded.origins["training.apply_deepspeed"]
    return ChatRun(short, inputs, finetune, origins, loaded, (*warnings, *loaded.warnings))


def registered_entry(registered: RegisteredBase, models: tuple[CatalogueModel, ...]) -> CatalogueModel:
    """A registered model like one of the catalogue: what is known of the model that it was tuned from counts for it."""
    base = find_model(models, registered.base_model) or CatalogueModel(model_id=registered.model_id)
    return base.model_copy(
        update={
            "model_id": registered.model_id,
            "name": registered.name,
            "aliases": (),
            "revision": registered.revision,
            "baseline": (),
        }
    )


def _recipe(
    model_id: str,
    short: str,
    model: CatalogueModel | None,
    inputs: ChatInputs,
    finetune: FinetuneParameters,
    origins: Mapping[str, str],
    overrides: Sequence[str],
    model_wins: bool,
) -> LoadedRecipe:
    """The parameters as a recipe of the fine-tuning graph; a default leaves room for what the model says by section."""
    tree = sections_of(finetune.model_dump(exclude_none=True))
    if not finetune.apply_lora:
        tree.pop("lora")  # no adapter, so nothing to set
    where = {f"{section}.{key}": DEFAULT for section, keys in tree.items() for key in keys}
    where |= {key: origins[name] for name, key in PARAMETER_KEYS.items() if key in where and name in origins}
    if "training.eval_steps" in where:
        where["training.save_steps"] = where["training.eval_steps"]
    spoken = dict(flatten(model.sections())) if model else {}
    if "training.tokens_per_batch" in spoken:
        spoken[_ROWS_OF_A_BATCH] = None
    yielding = [key for key, origin in where.items() if origin == DEFAULT and key in spoken]
    said = {key: value for each in overrides for key, value in flatten(parse_override(each))}
    if "training.tokens_per_batch" in said and where.get(_ROWS_OF_A_BATCH, "").startswith((DEFAULT, "model ")):
        yielding = [*{*yielding, _ROWS_OF_A_BATCH}]  # two ways to fill a batch: the user's counts
    for key in yielding:
        section, _, name = key.partition(".")
        del tree[section][name], where[key]
    fixed: dict[str, Any] = {
        "task.name": (TASK, TASK),
        "model.model_id": (model_id, "--model"),
        "data.dataset_id": (inputs.train_file_path, "train_file_path"),
    }
    if model and model.revision:
        fixed["model.revision"] = (model.revision, f"model {model.model_id}")
    for split in ("validation", "test"):
        if name := getattr(inputs, f"{split}_file_path"):
            fixed[f"data.{split}_file"] = (name, f"{split}_file_path")
    if "max_seq_length" in origins or "tokens.max_seq_length" not in spoken:
        most = model.context_length if model and model.context_length else LONGEST
        length = most if inputs.max_seq_length == -1 else inputs.max_seq_length
        fixed["tokens.max_seq_length"] = (length, origins.get("max_seq_length", "max_seq_length, the model's most"))
    row = said.get(
        "tokens.max_seq_length", fixed.get("tokens.max_seq_length", (spoken.get("tokens.max_seq_length"),))[0]
    )
    fixed |= _for_conversations(short, inputs, row, {*where, *spoken} - _of_questions(spoken))
    for key, (value, origin) in fixed.items():
        section, _, name = key.partition(".")
        tree.setdefault(section, {})[name], where[key] = value, origin
    for each in overrides:
        for key, value in flatten(parse_override(each)):
            section, _, name = key.partition(".")
            _put(tree.setdefault(section, {}), name, value)
            where[key] = "command line"
    return build_recipe(tree, where, (model,) if model else (), model_wins)


def _of_questions(spoken: Mapping[str, Any]) -> set[str]:
    """Keys of a model's file that are meant for short answers to questions, as the starter's length of an answer is."""
    key = "evaluation.max_new_tokens"
    return {key} if key in spoken and spoken[key] < EvaluationConfig().max_new_tokens else set()


def _for_conversations(short: str, inputs: ChatInputs, row: Any, taken: set[str]) -> dict[str, tuple[Any, str]]:
    """Recipe keys whose default is another one for conversations, unless somebody set them.

    Args:
        short: Name of the model.
        inputs: Where the conversations come from.
        row: Tokens of a row; what is no number is refused later.
        taken: Keys that are set.
    """
    longest = max(1, min(LONGEST_ANSWER, int(row) // 2)) if str(row).isdigit() else LONGEST_ANSWER
    defaults = {
        "registry.name": (tuned_name(short, dataset_stem(inputs.train_file_path)), "model and data"),
        "evaluation.max_new_tokens": (longest, TASK),
        "gate.metric": ("loss", TASK),
    }
    return {key: default for key, default in defaults.items() if key not in taken and default[0]}


def _put(tree: dict[str, Any], name: str, value: Any) -> None:
    head, _, rest = name.partition(".")
    if rest:
        _put(tree.setdefault(head, {}), rest, value)
    else:
        tree[head] = value


def _named(values: Mapping[str, tuple[Any, str]], kind: type[Parameters]) -> dict[str, Any]:
    return {name: value for name, (value, _) in values.items() if name in kind.model_fields}


def _unknown(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]}?" if near else "docs/chat-completion.md lists them all."
    return f"unknown parameter {name}. {hint}"
