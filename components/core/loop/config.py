"""The sections of a loop's recipe that say what it learns from, and when it stops."""

from typing import Annotated

from pydantic import Field, StringConstraints

from components.core.recipe.section import Count, Section

Amount = Annotated[float, Field(ge=0)]


Name = Annotated[str, StringConstraints(min_length=1)]


class ReferenceConfig(Section):
    """Rows that say how the service LLM answers."""

    dataset_id: Name = "starter"
    """(prompt, response) rows: a folder, a saved dataset, a Hub id, or `starter` for the embedded conversations."""
    train_split: Name = "train_sft"
    """Split that is trained on, and that new rows are generated from; `starter` has its own."""
    test_split: Name = "test_sft"
    """Split that is answered and judged; never trained on."""


class LoopConfig(Section):
    """How long a small model may try to become good enough."""

    max_rounds: Annotated[int, Field(ge=0, le=20)] = 4
    """Rounds of generating and retraining after the base model was judged; 0 only judges it."""
    max_usd: Amount | None = None
    """Most that the service LLM may cost over all rounds, in USD, by the prices of `judge` and `data_gen`."""
    max_calls: Count | None = None
    """Most calls of the service LLM over all rounds, judging and generating together."""
    max_synthetic_rows: Count | None = None
    """Most generated rows over all rounds."""
    min_gain: Annotated[float, Field(ge=0, lt=100)] = 0.0
    """Points of 100 that a round must surely gain over the best one before it; else it counts as without gain."""
    patience: Count = 2
    """Rounds without gain, one after another, that end the loop as a plateau."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Coverage of the interval of a gain."""
    bootstrap_samples: Annotated[int, Field(ge=100)] = 2000
    """Resamples of the prompts behind that interval."""
    seed: int = 42
    """Seed of the resampling."""
