"""Writing a compiled pipeline to a file."""

from pathlib import Path
from typing import Any

from components.core.errors import ConfigError


def compile_to(pipeline: Any, path: Path) -> None:
    """Compile a pipeline, and say where it is.

    Raises:
        ConfigError: If the file has no name for YAML or JSON, or cannot be written.
    """
    from kfp import compiler

    if path.suffix not in {".yaml", ".yml", ".json"}:
        raise ConfigError(f"cannot compile to {path}: the name must end in .yaml or .json.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        compiler.Compiler().compile(pipeline, str(path))
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}. Choose another file.") from error
    print(f"Compiled to {path}")
