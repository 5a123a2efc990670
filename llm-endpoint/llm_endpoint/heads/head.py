"""The reader of `head.json`: what a head's numbers mean, as it was written beside the weights."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from llm_endpoint.errors import ModelError

HEAD_FILE = "head.json"
HeadTaskName = Literal["single_label", "multi_label", "regression", "ner"]
HEAD_TASKS: tuple[HeadTaskName, ...] = ("single_label", "multi_label", "regression", "ner")
FALLBACK_THRESHOLD = 0.5
"""Of a multi-label model whose thresholds have not been tuned."""
OUTSIDE = "O"
"""Tag of a word that belongs to no entity."""


class _Part(BaseModel):
    # an unknown key could change what the numbers mean, so it is no head of this format
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class Scale(_Part):
    """How a regression's target was normalised: the model answers (target - mean) / std."""

    mean: float
    std: Annotated[float, Field(gt=0)]
    minimum: float
    """Smallest target of the training, in its own unit; no answer is clipped to it."""
    maximum: float


class Head(_Part):
    """How texts become the model's input, and its output a prediction."""

    format: Literal[1]
    task: HeadTaskName
    labels: list[str]
    """Names of the outputs, in their order; tags for `ner`; none for `regression`."""
    thresholds: list[Annotated[float, Field(ge=0, le=1)]] | None
    """`multi_label`: the probability from which each label counts."""
    scale: Scale | None
    columns: dict[str, str]
    """Our names of the columns that were trained on, to the dataset's."""
    max_seq_length: Annotated[int, Field(ge=1)]
    """Tokens of one input, special ones included."""
    pad_token_id: Annotated[int, Field(ge=0)]
    token_type_ids: bool
    """The model is told which of two texts a token belongs to."""
    pair_joiner: str | None
    """Put between two texts where the tokenizer does not part them itself."""

    @model_validator(mode="after")
    def _fits_its_task(self) -> Self:
        regression = self.task == "regression"
        if regression != (self.scale is not None):
            raise ValueError(f"{self.task} {'needs' if regression else 'has no'} scale")
        if regression == bool(self.labels):
            raise ValueError(f"{self.task} {'has no' if regression else 'needs'} labels")
        if self.thresholds is not None and (self.task != "multi_label" or len(self.thresholds) != len(self.labels)):
            raise ValueError("thresholds belong to multi_label, one for each label")
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("a label stands there twice")
        if self.task == "ner" and self.labels[0] != OUTSIDE:
            raise ValueError(f"the first tag is not {OUTSIDE}")
        return self

    @property
    def outputs(self) -> int:
        """Width of the head."""
        return len(self.labels) or 1

    @property
    def pair(self) -> bool:
        """Whether the model was trained on pairs of texts."""
        return "text_pair" in self.columns


def read_head(folder: Path) -> Head:
    """Read the head of a model folder.

    Raises:
        ModelError: If it is missing or does not hold together.
    """
    path = folder / HEAD_FILE
    try:
        return Head.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        problem = error.errors(include_input=False)[0]
        reason = f"{'.'.join(map(str, problem['loc'])) or 'the whole'}: {problem['msg']}"
        raise ModelError(f"{path} cannot be used ({reason}). Publish the model folder again.") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is missing or cannot be read. Publish the model folder again.") from error
