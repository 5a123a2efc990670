"""What a fine-tuning gave."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from components.core.errors import StorageError

INFO_FILE = "training_info.json"


@dataclass(frozen=True)
class TrainingResult:
    """Numbers of one finished fine-tuning."""

    steps: int
    """Optimizer steps, those before a resume included."""
    train_loss: float
    """Mean loss per label token over all steps, in nats; each step counts the same."""
    validation_loss: float | None
    """Mean loss per label token of the validation rows after the last step; None where there are no such rows."""
    tokens_per_second: float
    """Tokens of rows (padding not counted) per second of training in this run, validation and saving left out."""
    peak_memory_bytes: int
    """Most memory that one of the processes held: resident memory on a CPU, allocated memory of the device on a GPU."""
    seconds: float
    """Duration of this call, from reading the tokens to the written model."""
    resumed_from_step: int | None
    """Step of the checkpoint that this run went on from; None when it began anew."""
    trainable_parameters: int
    total_parameters: int
    device: str
    precision: str
    """What the matrix products were computed in: `fp32`, `bf16` or `fp16`."""
    notes: list[str]
    """What was decided for the user, or looked odd; one sentence each."""
    world_size: int
    """Processes that trained together, one per GPU."""
    distributed: str
    """How they did: `none` (one), `ddp`, `deepspeed-zero2` or `deepspeed-zero3`."""

    def metrics(self) -> dict[str, float]:
        """The numbers alone, by name; what is None is left out."""
        return {name: float(value) for name, value in asdict(self).items() if isinstance(value, int | float)}


def read_result(output_dir: Path) -> TrainingResult:
    """Read the result of a finished fine-tuning out of its model folder.

    Raises:
        StorageError: If the fine-tuning is not finished.
    """
    path = output_dir / INFO_FILE
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        return TrainingResult(**{field.name: info[field.name] for field in fields(TrainingResult)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{path} is missing or incomplete ({error!r}). Run the fine-tuning again.") from error
