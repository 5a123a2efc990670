"""Deterministic kernels for as long as they are wanted."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Give back afterwards what the Trainer sets for `full_determinism`: its switch holds for the whole process."""
    if not wanted:
        yield
        return
    import os

    import torch

    before, environment = torch.are_deterministic_algorithms_enabled(), dict(os.environ)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.backends.cudnn.deterministic = False
        for name in set(os.environ) - set(environment):
            del os.environ[name]
