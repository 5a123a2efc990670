"""How the tools of the LLMOps loop start: `--from-config FILE` and one flag for each key of it, which wins.

    from_config.configured(BatchInferenceConfig, "batch_inference", __doc__)      # -> the section and the settings

A relative file that is not in the working directory is looked for here: `config/NAME.yaml` works from any folder.
"""

import sys
from pathlib import Path
from typing import TypeVar

from components.core.progress import log_to_stdout
from components.core.recipe import Section, parse_config
from components.core.settings import Settings, load_settings

HERE = Path(__file__).resolve().parent

_S = TypeVar("_S", bound=Section)


def configured(kind: type[_S], tool: str, about: str | None) -> tuple[_S, Settings]:
    """The configuration of this command line, and the settings of the environment; progress goes to standard output.

    Raises:
        ConfigError: If either is wrong.
    """
    config = parse_config(kind, sys.argv[1:], f"python -m llm-pipelines.{tool}", about or "", HERE)
    settings = load_settings()
    log_to_stdout()
    return config, settings
