"""Reading a YAML file that somebody wrote by hand."""

from pathlib import Path
from typing import Any

import yaml

from components.core.errors import ConfigError


def read_yaml(path: Path, check: str, write: str, kind: str = "") -> Any:
    """What a file holds; None for an empty one.

    Args:
        path: The file.
        check: What to check where it cannot be read, for example `the path`.
        write: What its author should write instead of broken YAML.
        kind: What the file is, for example `recipe`.

    Raises:
        ConfigError: If it cannot be read or is not YAML, with the line.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        named = f"{kind} {path}".strip()
        raise ConfigError(f"cannot read {named}: {error.strerror}. Check {check}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line} is not valid YAML. Write {write}.") from error
