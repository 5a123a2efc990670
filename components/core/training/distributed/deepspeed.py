"""DeepSpeed around a model: what it needs of a machine, how its processes meet, and how they part again."""

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from components.core.errors import ConfigError, StorageError, TrainingError
from components.core.settings import Settings
from components.core.training.estimate import Device

if TYPE_CHECKING:
    from transformers import TrainingArguments


def kind_of_training(configuration: Mapping[str, Any] | None, processes: int) -> str:
    """How processes train together: `deepspeed-zero<stage>`, `ddp`, or `none`."""
    if configuration is not None:
        return f"deepspeed-zero{configuration['zero_optimization']['stage']}"
    return "ddp" if processes > 1 else "none"


def check_deepspeed(device: Device) -> None:
    """Raise unless DeepSpeed can run here.

    Raises:
        TrainingError: If it, or what it compiles its part for CPUs with, is missing.
    """
    if find_spec("deepspeed") is None:
        raise TrainingError(
            "apply_deepspeed=true: the package deepspeed is not installed. Install it, or set apply_deepspeed=false."
        )
    if device != "cpu":
        return
    wanted = {"a C++ compiler (g++)": os.environ.get("CXX", "g++"), "ninja": "ninja"}
    missing = [name for name, program in wanted.items() if shutil.which(program, path=_path()) is None]
    if missing:
        raise TrainingError(
            f"apply_deepspeed=true: on a CPU DeepSpeed compiles a part of itself, and {' and '.join(missing)} cannot "
            "be found. Install it, train on a GPU, or set apply_deepspeed=false."
        )


@contextmanager
def deepspeed_variables(applied: bool, device: Device, settings: Settings) -> Iterator[dict[str, str]]:
    """Variables of the processes of a training with DeepSpeed, which is checked first; none without it.

    Raises:
        TrainingError: If it cannot run here.
        StorageError: If there is no place for what it compiles.
    """
    if applied:
        check_deepspeed(device)
    if not applied or device != "cpu":
        yield {}
        return
    with _extensions(settings) as extensions:
        yield {"DS_ACCELERATOR": "cpu", "TORCH_EXTENSIONS_DIR": str(extensions), "PATH": _path()}


def meet_on_cpu() -> None:
    """Tell accelerate that the processes of a DeepSpeed training without a GPU belong together.

    Without an accelerator it takes a process for the only one unless it is told to use the CPU, which in its turn
    turns DeepSpeed off: each would train and save for itself.
    """
    from accelerate import PartialState
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    os.environ["ACCELERATE_USE_DEEPSPEED"] = "true"
    PartialState(backend="gloo")


def check_agreement(arguments: "TrainingArguments") -> None:
    """Refuse a configuration of the user's own that contradicts what else is set.

    Raises:
        ConfigError: With all contradictions.
    """
    configuration = getattr(arguments, "hf_deepspeed_config", None)
    found = [
        each.removeprefix("- ds ").replace(" vs hf ", ", yet ") for each in getattr(configuration, "mismatches", [])
    ]
    if found:
        raise ConfigError(f'deepspeed: {"; ".join(found)}. Write "auto" for these keys of the configuration.')


def leave_deepspeed() -> None:
    """Let models be read whole again: with ZeRO-3 each that is read is parted over all processes."""
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    unset_hf_deepspeed_config()


def _path() -> str:
    """PATH with the programs of this Python's environment, which need not be activated."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


@contextmanager
def _extensions(settings: Settings) -> Iterator[Path]:
    """Where DeepSpeed keeps what it has compiled; a folder of one's own while another training uses the common one."""
    common = settings.cache / "torch-extensions"
    try:
        common.mkdir(parents=True, exist_ok=True)
        lock = (common / "in-use").open("w")
    except OSError as error:
        raise StorageError(f"cannot write {common}: {error.strerror or error}. Set WHETSTONE_HOME.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            with TemporaryDirectory(prefix="whetstone-extensions-") as own:
                yield Path(own)
            return
        for stale in common.rglob("lock"):
            # a build that was killed leaves it, and the next one would wait for it forever
            stale.unlink()
        yield common
