"""What a fine-tuning of a head gave."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from components.core.errors import StorageError
from components.core.training.result import INFO_FILE


@dataclass(frozen=True)
class HeadTrainingResult:
    """Numbers of one finished fine-tuning; they stand in training_info.json under the same names."""

    steps: int
    """Optimizer steps, those before a resume included."""
    train_loss: float
    """Mean over all steps."""
    validation_loss: float | None
    """Of the checkpoint that was kept."""
    validation_metrics: dict[str, float | None]
    """Of the written model on all validation rows, by name; None where one is not defined."""
    runtime: Literal["pytorch", "onnxruntime"]
    """What computed the validation metrics."""
    best_metric: float | None
    """Value of `metric_for_best_model` at the checkpoint that was kept, as the training measured it."""
    best_step: int
    """Step of that checkpoint."""
    stopped_early: bool
    resumed_from_step: int | None
    """Step of the checkpoint that this run went on from; None when it began anew."""
    tokens_per_second: float
    """Tokens of rows (padding not counted) per second of training in this run, validation and saving left out."""
    peak_memory_bytes: int
    """Most memory that one of the processes held: resident memory on a CPU, allocated memory of the device on a GPU."""
    seconds: float
    """Duration of this call, from reading the tokens to the written model."""
    trainable_parameters: int
    total_parameters: int
    device: str
    precision: str
    """What the matrix products were computed in: `fp32`, `bf16` or `fp16`."""
    method: Literal["lora", "full"]
    world_size: int
    """Processes that trained together."""
    distributed: str
    """`none`, `ddp` or `deepspeed-zero<stage>`."""
    notes: list[str]
    """What was decided for the user, or looked odd; one sentence each."""

    def metrics(self) -> dict[str, float]:
        """The numbers alone, by name; validation metrics as `validation_<name>`, and what is None is left out."""
        own = {name: value for name, value in asdict(self).items() if isinstance(value, int | float)}
        found = {f"validation_{name}": value for name, value in self.validation_metrics.items() if value is not None}
        return {name: float(value) for name, value in (own | found).items()}


def read_result(output_dir: Path) -> HeadTrainingResult:
    """Read the result of a finished fine-tuning out of its model folder.

    Raises:
        StorageError: If the fine-tuning is not finished.
    """
    path = output_dir / INFO_FILE
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        return HeadTrainingResult(**{field.name: info[field.name] for field in fields(HeadTrainingResult)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{path} is missing or incomplete ({error!r}). Run the fine-tuning again.") from error
