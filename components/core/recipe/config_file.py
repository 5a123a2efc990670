"""The configuration of a tool that runs alone: a YAML file of one section, each key of it also a flag of the same name.

The flag wins over the file, the file over the defaults. A key that is itself a section has a flag for each of its keys,
`--service_llm.model`. HF_TOKEN and API keys come from the environment only.
"""

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from components.core.errors import ConfigError
from components.core.recipe.section import Section
from components.core.recipe.yaml_file import read_yaml

_S = TypeVar("_S", bound=Section)

FROM_CONFIG = "--from-config"
_SECRET = re.compile(r"(^|_)(token|api_key|password|secret)$", re.IGNORECASE)
_NONE = {"null", "none", "~", ""}
_PYDANTIC_PLACES = re.compile(r"(function-|literal\[|constrained-|list\[|dict\[|str$|int$|float$|bool$|\d+$)")


def parse_config(
    kind: type[_S], argv: Sequence[str], program: str = "", description: str = "", folder: Path | None = None
) -> _S:
    """Read a tool's configuration from its command line.

    Args:
        kind: Section whose fields are the keys; their docstrings are the help.
        argv: Arguments without the program's name.
        program: What `--help` calls the tool.
        description: What `--help` says of it.
        folder: Where a relative `--from-config` that does not exist here is looked for, too.

    Raises:
        ConfigError: With all problems at once: unknown keys with the nearest known one, wrong types, missing keys.
    """
    fields = dict(_leaves(kind))
    parser = _parser(fields, program, description)
    given, others = parser.parse_known_args(list(argv))
    _refuse_unknown_flags(others, fields)
    values = {key: value for key, value in vars(given).items() if key in fields}
    file = _find(given.from_config, folder)
    tree = _read(file) if file else {}
    _refuse_unknown_keys(tree, kind, file)
    origins = {key: f"in {file}" for key, _ in _flat(tree)}
    for key, value in values.items():
        _put(tree, key, _value(value, fields[key]))
        origins[key] = "on the command line"
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(error, origins, file))) from error


def _leaves(kind: type[Section], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in kind.model_fields.items():
        inner = _section_of(field)
        if inner is None:
            yield f"{prefix}{name}", field
        else:
            yield from _leaves(inner, f"{prefix}{name}.")


def _section_of(field: FieldInfo) -> type[Section] | None:
    kinds = [field.annotation, *get_args(field.annotation)]
    return next((each for each in kinds if isinstance(each, type) and issubclass(each, Section)), None)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise ConfigError(f"{message}. {self.prog} --help prints every flag.")


def _parser(fields: Mapping[str, FieldInfo], program: str, description: str) -> _Parser:
    parser = _Parser(
        prog=program or None,
        description=description,
        epilog="HF_TOKEN and API keys are read from the environment only.",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=30, width=110),
    )
    parser.add_argument(
        FROM_CONFIG, metavar="FILE", default=None, help="YAML file with `key: value` lines; a flag wins over it."
    )
    for key, field in fields.items():
        about = _help(field).replace("%", "%%")
        if _is_bool(field):
            parser.add_argument(f"--{key}", dest=key, nargs="?", const="true", metavar="true|false", help=about)
            parser.add_argument(f"--no-{key}", dest=key, action="store_const", const="false", help=argparse.SUPPRESS)
        else:
            parser.add_argument(f"--{key}", dest=key, metavar="VALUE", help=about)
    return parser


def _help(field: FieldInfo) -> str:
    about = " ".join((field.description or "").split())
    default = field.get_default(call_default_factory=True) if not field.is_required() else None
    shown = "required" if field.is_required() else "default: " + ("none" if default is None else str(default))
    return f"{about} ({shown}{'; --no-... says false' if _is_bool(field) else ''})"


def _is_bool(field: FieldInfo) -> bool:
    return field.annotation is bool or bool in get_args(field.annotation)


def _refuse_unknown_flags(others: Sequence[str], fields: Mapping[str, FieldInfo]) -> None:
    """What the parser did not know; a value is never shown, since it may be a secret."""
    problems: list[str] = []
    for flag in (each.partition("=")[0] for each in others):
        name = flag.lstrip("-").replace("-", "_")
        if not flag.startswith("--"):
            if not problems:
                problems.append("there is a value that belongs to no flag. Write --key VALUE.")
        elif _SECRET.search(name):
            problems.append(f"{flag} is no flag: a command line can be read by others. Set {name.upper()} instead.")
        else:
            near = get_close_matches(name, fields, n=1)
            problems.append(f"unknown flag {flag}. {_nearest(near, fields, '--')}")
    if problems:
        raise ConfigError("\n".join(problems))


def _nearest(near: Sequence[str], known: Mapping[str, Any], before: str = "") -> str:
    return f"Did you mean {before}{near[0]}?" if near else f"The keys are {', '.join(known)}."


def _find(name: str | None, folder: Path | None) -> Path | None:
    if name is None:
        return None
    path = Path(name).expanduser()
    if not path.exists() and folder is not None and (folder / path).is_file():
        return folder / path
    return path


def _read(path: Path) -> dict[str, Any]:
    tree = read_yaml(path, FROM_CONFIG, "`key: value` lines")
    if tree is not None and not isinstance(tree, dict):
        raise ConfigError(f"{path} must hold `key: value` lines, not {type(tree).__name__}.")
    return {str(key): value for key, value in (tree or {}).items()}


def _refuse_unknown_keys(tree: Mapping[str, Any], kind: type[Section], file: Path | None) -> None:
    problems = list(_unknown_keys(tree, kind, ""))
    if problems:
        raise ConfigError("\n".join(f"{file}: {problem}" for problem in problems))


def _unknown_keys(tree: Mapping[str, Any], kind: type[Section], prefix: str) -> Iterator[str]:
    known = kind.model_fields
    for key, value in tree.items():
        if key not in known and _SECRET.search(key):
            yield f"{prefix}{key} is no key: a file may be shared. Set {key.upper()} in the environment."
        elif key not in known:
            near = get_close_matches(key, known, n=1)
            yield f"unknown key {prefix}{key}. {_nearest(near, known, prefix)}"
        elif (inner := _section_of(known[key])) is not None and isinstance(value, Mapping):
            yield from _unknown_keys({str(name): each for name, each in value.items()}, inner, f"{prefix}{key}.")


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        yield f"{prefix}{key}", value
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *sections, name = key.split(".")
    for section in sections:
        if not isinstance(tree.get(section), dict):
            tree[section] = {}
        tree = tree[section]
    tree[name] = value


def _value(text: str, field: FieldInfo) -> Any:
    """A flag's value; text unless it is none, or YAML for a list or map. The section turns text into numbers."""
    if text.strip().lower() in _NONE and type(None) in get_args(field.annotation):
        return None
    if text.strip()[:1] in ("[", "{") and field.annotation is not str:
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError:
            return text
    return text


def _explain(error: ValidationError, origins: Mapping[str, str], file: Path | None) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        key = ".".join(part for part in map(str, problem["loc"]) if not _PYDANTIC_PLACES.match(part))
        if problem["type"] == "missing":
            where = f"in {file} or " if file else ""
            yield f"{key} is missing. Set it {where}by --{key}."
        else:
            message = problem["msg"].removeprefix("Value error, ")
            # a rule about several keys has no key of its own
            named = (
                f"{key}={problem['input']!r} {origins.get(key, '')}".rstrip() if key else str(file or "configuration")
            )
            yield f"{named}: {message}."
