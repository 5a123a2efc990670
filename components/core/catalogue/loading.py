"""Parameters of all steps of a task from a file and a command line, checked before anything runs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from components.core.catalogue.checking import check_parameters, read_parameters
from components.core.catalogue.finetune import FinetuneParameters
from components.core.catalogue.sources import SourceParameters
from components.core.catalogue.steps import ARTIFACTS, VERBS, fields_of, kinds_of
from components.core.catalogue.task_names import CORE_TASKS
from components.core.catalogue.values import Parameters
from components.core.errors import ConfigError
from components.core.recipe.yaml_file import read_yaml

STARTER = "starter"
_STARTER_COLUMNS = {
    "classification_single_label": {"sentence1_key": "text", "label_key": "label"},
    "classification_multi_label": {"sentence1_key": "text", "label_column_name": "labels"},
    "regression": {"sentence1_key": "text", "label_key": "score"},
    "ner": {"token_key": "tokens", "tag_key": "ner_tags"},
}


@dataclass(frozen=True)
class LoadedParameters:
    """Checked parameters of one task."""

    task: str
    """The catalogue's name."""
    groups: dict[str, list[Parameters]]
    """By step."""
    origins: dict[str, str]
    """Where each value came from that is no default."""

    @property
    def finetune(self) -> FinetuneParameters:
        """Those of the fine-tuning, which also shape its pod."""
        return next(group for group in self.groups["finetune"] if isinstance(group, FinetuneParameters))

    @property
    def source(self) -> SourceParameters:
        """Where rows and base model come from."""
        return next(group for group in self.groups["preprocess"] if isinstance(group, SourceParameters))

    def columns(self) -> dict[str, str]:
        """Our column name to the dataset's."""
        return {ours: theirs for group in self.groups["preprocess"] for ours, theirs in _columns(group).items()}

    def values(self) -> dict[str, dict[str, Any]]:
        """By step and name; what is none is left out."""
        return {
            verb: {
                name: value
                for group in groups
                for name, value in group.model_dump().items()
                if value is not None and not (verb == "inference" and name in ARTIFACTS)
            }
            for verb, groups in self.groups.items()
        }

    def lines(self) -> Iterator[str]:
        """One printable line for each value, `step  name = value  (origin)`."""
        for verb, values in self.values().items():
            for name, value in values.items():
                yield f"{verb:<10}  {name} = {value!r}  ({self.origins.get(name, 'default')})"


def load_parameters(
    task: str, path: Path | None, overrides: Sequence[str], cuda: bool | None = None
) -> LoadedParameters:
    """Read parameters of all steps; a name belongs to one step only, so it stands alone.

    Args:
        task: The catalogue's name.
        path: YAML file of `name: value` lines; None takes the defaults.
        overrides: `name=value` texts; they win.
        cuda: Whether this machine has a CUDA device; None where the training runs elsewhere.

    Raises:
        ConfigError: With all problems at once: unknown names, wrong types, values outside their list, impossible
            combinations.
    """
    if task not in CORE_TASKS:
        near = get_close_matches(task, CORE_TASKS, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise ConfigError(f"there is no task {task}. {hint}There are {', '.join(CORE_TASKS)}.")
    given = read_given(path, overrides)
    if given.get("train_file", ("",))[0] == STARTER:
        given |= {name: (column, "embedded rows") for name, column in _STARTER_COLUMNS[task].items()}
    owners = {name: verb for verb in VERBS for name in fields_of(verb, task)}
    problems = [_unknown(name, owners) for name in given if name not in owners]
    groups: dict[str, list[Parameters]] = {}
    for verb in VERBS:
        for kind in kinds_of(verb, task):
            own = {name: value for name, (value, _) in given.items() if name in kind.model_fields}
            # in a pipeline these are artifacts of the steps before
            artifacts = dict.fromkeys(ARTIFACTS, "-") if verb == "inference" else {}
            try:
                groups.setdefault(verb, []).append(read_parameters(kind, own | artifacts))
            except ConfigError as error:
                problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    loaded = LoadedParameters(task, groups, {name: origin for name, (_, origin) in given.items()})
    check_parameters(loaded.finetune, cuda)
    return loaded


def read_given(path: Path | None, overrides: Sequence[str]) -> dict[str, tuple[Any, str]]:
    """What a user set, by name, each value with its origin.

    Raises:
        ConfigError: If the file cannot be read, or a text is not `name=value`.
    """
    given: dict[str, tuple[Any, str]] = {}
    if path is not None:
        given |= {name: (value, f"file {path.name}") for name, value in _read_yaml(path).items()}
    return given | {name: (value, "command line") for name, value in map(_parse, overrides)}


def _columns(group: Parameters) -> Mapping[str, str]:
    found: Mapping[str, str] = group.columns() if hasattr(group, "columns") else {}
    return found


def _read_yaml(path: Path) -> dict[str, Any]:
    tree = read_yaml(path, "the path", "`name: value` lines")
    if tree is not None and not isinstance(tree, dict):
        raise ConfigError(f"{path} must hold `name: value` lines.")
    return {str(name): value for name, value in (tree or {}).items()}


def _parse(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name.strip():
        raise ConfigError(f"cannot read {text!r}. Write name=value, for example learning_rate=2e-5.")
    return name.strip(), value


def _unknown(name: str, owners: Mapping[str, str]) -> str:
    near = get_close_matches(name, list(owners), n=1)
    hint = f"Did you mean {near[0]}?" if near else "docs/catalogue-parameters.md lists them all."
    return f"unknown parameter {name}. {hint}"
