"""What a fine-tuning gave."""

from dataclasses import asdict, dataclass


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
    """Tokens of rows (padding not counted) per second of training in this process, validation and saving left out."""
    peak_memory_bytes: int
    """Most memory that this process held: resident memory on a CPU, allocated memory of the device on a GPU."""
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

    def metrics(self) -> dict[str, float]:
        """The numbers alone, by name; what is None is left out."""
        return {name: float(value) for name, value in asdict(self).items() if isinstance(value, int | float)}
