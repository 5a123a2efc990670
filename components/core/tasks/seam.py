"""The seam between the platform and a task: everything that data, training and evaluation ask of one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from components.core.tasks.prompt import Prompt

Row = dict[str, Any]
"""One example in the task's own schema, as it stands in the prepared JSON Lines files."""

TargetKind = Literal["answer", "label", "labels", "score", "entities"]
"""What a row teaches: a text, one label, a set of labels, a number, or entities (each with a type)."""
Target = list[str] | float | None
"""Labels of a row (of `entities`: a type for each), its number, or None for a text."""


@dataclass(frozen=True)
class Finding:
    """One thing wrong with, or remarkable in, one row."""

    kind: str
    """Stable name, for example `answer_not_in_context`."""
    severity: Literal["error", "warning"]
    """An error makes the row unusable; a warning is counted and shown."""
    message: str
    """What is wrong and what to do; never the row's own text in full."""


@dataclass(frozen=True)
class Encoded:
    """Token ids of a batch of examples.

    `input_ids[i]` and `labels[i]` have the same length; hidden positions of `labels` are -100. An example that would
    not fit or would teach nothing has an empty list. `cut[i]` says that its context was cut to fit.
    """

    input_ids: list[list[int]]
    labels: list[list[int]]
    cut: list[bool]


@dataclass(frozen=True)
class EncodedPrompts:
    """Token ids of prompts, and which of them lost a part of their context to fit."""

    input_ids: list[list[int]]
    cut: list[bool]


class RowContract(Protocol):
    """What data preparation asks of every task. All methods take and return plain values; none reads a file."""

    name: str
    columns: Sequence[str]
    """Required columns of the task's schema."""
    optional_columns: Sequence[str]
    text_columns: Sequence[str]
    """Columns that hold text, whose lengths are reported."""
    target_kind: TargetKind

    def parse_row(self, raw: Mapping[str, Any]) -> tuple[Row | None, list[Finding]]:
        """Check one raw row against the schema and give it back in canonical form, or None and why not."""

    def row_key(self, row: Row) -> str:
        """Text by which two rows ask the same thing (for duplicates and leakage)."""

    def row_answer(self, row: Row) -> str:
        """Canonical text of what the row teaches, to tell a duplicate from a conflict."""

    def row_target(self, row: Row) -> Target:
        """What the row teaches, for splits, counts and the label map."""


class Task(RowContract, Protocol):
    """A task whose model generates text: what tokenization, training and evaluation ask of it as well."""

    metric_names: Sequence[str]
    """Metrics that `score_rows` gives for each row, the most telling first."""
    loss_on: str
    """The tokens on which loss and perplexity are measured as well, in words; empty where they say little."""

    def encode(self, rows: Sequence[Row], tokenizer: Any, prompt: Prompt, max_length: int, window: bool) -> Encoded:
        """Render and tokenize a batch of rows with the loss on the answer only."""

    def encode_prompts(self, rows: Sequence[Row], tokenizer: Any, prompt: Prompt, max_length: int) -> EncodedPrompts:
        """Render and tokenize prompts without their answers, for generation; a context too long is cut at its end."""

    def read_out(self, text: str, prompt: Prompt) -> str:
        """What a generated text means as a prediction ("" when the model says that there is no answer)."""

    def score_rows(self, rows: Sequence[Row], predictions: Sequence[str]) -> list[dict[str, float]]:
        """Metrics of each row, 0 to 1."""
