"""LangChain's own tracer, which the environment turns on, would send every trace twice: with content, unmasked."""

import os
import sys

_SWITCHES = (
    "LANGSMITH_TRACING",
    "LANGSMITH_TRACING_V2",
    "LANGCHAIN_TRACING",
    "LANGCHAIN_TRACING_V2",
    "LANGCHAIN_HANDLER",
    # a second list of servers that runs would be copied to
    "LANGSMITH_RUNS_ENDPOINTS",
    "LANGCHAIN_RUNS_ENDPOINTS",
)


def disable_ambient_tracing() -> None:
    """Remove the switches from this process's environment. Call it in `main()`, after the settings were read."""
    for name in _SWITCHES:
        os.environ.pop(name, None)
    # it remembers variables that it has read
    utils = sys.modules.get("langsmith.utils")
    if utils is not None:
        utils.get_env_var.cache_clear()
