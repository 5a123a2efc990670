"""The sections of a recipe that say how a model is judged."""

from typing import Annotated, Literal

from pydantic import Field

from components.core.recipe.section import Count, FileAddress, Fraction, Section


class EvaluationConfig(Section):
    """How base and tuned model are compared."""

    max_rows: Count | None = None
    """Judge at most this many rows of the test split; none judges all."""
    max_new_tokens: Count = 32
    """Longest answer, in tokens."""
    repetition_penalty: Annotated[float, Field(gt=0)] = 1.03
    """Divides the logits of tokens that stand in prompt or answer already; saved with the model, which is served so."""
    tokens_per_batch: Count = 16384
    """Token budget of one generation batch, padding counted."""
    bootstrap_samples: Annotated[int, Field(ge=100)] = 2000
    """Resamples of the test rows behind each interval."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Coverage of each interval."""
    seed: int = 42
    """Seed of the resampling."""
    examples: Annotated[int, Field(ge=0)] = 20
    """Worst and best rows shown side by side in the report."""
    probe_file: FileAddress | None = None
    """Texts and conversations on which forgetting is measured, JSON lines; none takes the embedded ones."""


class GateConfig(Section):
    """The rule that decides whether the tuned model may go on."""

    enabled: bool = True
    """False records the verdict but lets every model pass, with a warning."""
    metric: Literal["f1", "exact_match", "loss"] = "f1"
    """Metric whose difference is tested; `loss`, of `chat_completion`, in nats per token, where lower is better."""
    minimum: dict[Literal["f1", "exact_match"], Fraction] = {}
    """Smallest score of the tuned model, by metric, for example `{exact_match: 0.6}`."""
    min_improvement: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The lower bound of (tuned - base) must lie above this."""
    has_answer: Literal["better", "no_shown_loss", "ignore"] = "no_shown_loss"
    """Against the base on the rows that have an answer: `better` there too, or at least no interval all below 0."""
    champion: Literal["better", "not_worse", "ignore"] = "not_worse"
    """Against the registered champion: `better` needs a lower bound above 0, `not_worse` one above -`tolerance`."""
    tolerance: Fraction = 0.02
    """How much worse than the champion the lower bound may be with `not_worse`."""
    max_forgetting: Annotated[float, Field(ge=0)] | Literal["ignore"] = 0.5
    """Refuses when the loss on general texts or conversations surely rose by more nats per token; or `ignore`."""
