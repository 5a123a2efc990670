"""What a head's numbers mean: `head.json`, which travels with the weights as `prompt.json` does for a text model."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from components.core.errors import StorageError

HEAD_FILE = "head.json"
HeadTaskName = Literal["single_label", "multi_label", "regression", "ner"]


class Scale(BaseModel):
    """How a regression's target was normalised: the head learns (target - mean) / std."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mean: float
    std: Annotated[float, Field(gt=0)]
    minimum: float
    """Smallest training target, in its own unit; for display, no answer is clipped to it."""
    maximum: float


class Head(BaseModel):
    """Everything that is needed to turn a row into the model's input, and its output into a prediction."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    format: Literal[1] = 1
    task: HeadTaskName
    """Which read-out holds."""
    labels: list[str] = []
    """Names of the outputs, in their order; for `ner` the tags; empty for `regression`."""
    thresholds: list[Annotated[float, Field(ge=0, le=1)]] | None = None
    """`multi_label`: the probability from which each label counts; none until they have been tuned."""
    scale: Scale | None = None
    """`regression`: how an output becomes a number in the target's unit."""
    columns: dict[str, str]
    """Our column name to the dataset's, for those that were trained on."""
    max_seq_length: Annotated[int, Field(ge=1)]
    """Tokens of one input, special ones included."""
    pad_token_id: Annotated[int, Field(ge=0)]
    """Fills up batches; the only token of a text that has none."""
    token_type_ids: bool
    """The model is told which of two texts a token belongs to."""
    pair_joiner: str | None = None
    """Put between two texts where the tokenizer has no way of its own to part them."""

    @model_validator(mode="after")
    def _fits_its_task(self) -> Self:
        if (self.task == "regression") != (self.scale is not None):
            raise ValueError(f"{self.task} {'needs' if self.task == 'regression' else 'has no'} scale")
        if (self.task == "regression") == bool(self.labels):
            raise ValueError(f"{self.task} {'has no' if self.task == 'regression' else 'needs'} labels")
        if self.thresholds is not None and (self.task != "multi_label" or len(self.thresholds) != len(self.labels)):
            raise ValueError("thresholds belong to multi_label, one for each label")
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("a label stands there twice")
        return self

    @property
    def outputs(self) -> int:
        """Width of the head."""
        return len(self.labels) or 1


def write_head(head: Head, folder: Path) -> None:
    """Save the head's meaning beside the weights.

    Raises:
        StorageError: If the folder cannot be written.
    """
    try:
        (folder / HEAD_FILE).write_text(head.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write {folder / HEAD_FILE}: {error.strerror or error}. Free some space.") from error


def read_head(folder: Path) -> Head:
    """Read the head's meaning from a model folder.

    Raises:
        StorageError: If the file is missing or not valid; there is no silent default.
    """
    path = folder / HEAD_FILE
    try:
        return Head.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        problem = error.errors()[0]
        reason = f"{'.'.join(map(str, problem['loc'])) or 'the whole'}: {problem['msg']}"
        raise StorageError(f"{path} cannot be used ({reason}). Run the fine-tuning again.") from error
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} is missing or cannot be read. Run the fine-tuning again.") from error
