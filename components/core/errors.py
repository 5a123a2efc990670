"""Every error that a user can meet, and how a step reports one.

PlatformError
├── ConfigError      a recipe, a command line or a setting is wrong
├── DataError        a dataset breaks the data contract
├── TrainingError    fine-tuning cannot start or go on
├── StorageError     a file, folder or Hub cannot be read or written
├── RegistryError    a model cannot be published, registered or found
└── ServiceLLMError  a service LLM cannot be asked, or its answer is of no use

The library raises them with one message that says what, where and what to do. `main()` functions and steps print that
message as one line and leave with exit code 2; a traceback therefore always means a defect of ours.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

ERROR_PREFIX = "error: "
"""Start of the line that a failing step prints; the launcher looks for it in the step's log."""

EXIT_BAD_INPUT = 2
EXIT_REFUSED = 3


class PlatformError(Exception):
    """Base of all errors whose message is meant for the user."""


class ConfigError(PlatformError):
    """A recipe, command line or setting is wrong."""


class DataError(PlatformError):
    """A dataset breaks the data contract."""


class TrainingError(PlatformError):
    """Fine-tuning cannot start or go on."""


class StorageError(PlatformError):
    """A file, folder or Hub repository cannot be read or written."""


class RegistryError(PlatformError):
    """A model cannot be published, registered or found."""


class ServiceLLMError(PlatformError):
    """A service LLM cannot be asked, or its answer is of no use."""


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn a PlatformError into its message on standard error and exit code 2."""
    try:
        yield
    except PlatformError as error:
        print(f"{ERROR_PREFIX}{error}", file=sys.stderr, flush=True)
        sys.exit(EXIT_BAD_INPUT)
