"""What batch inference is told: the keys of batch_inference.yaml."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from components.core.recipe.section import Count, Section

Name = Annotated[str, StringConstraints(min_length=1)]


class BatchInferenceConfig(Section):
    """Which model answers which rows, and where the answers go."""

    ft_model_id: Name
    """Model that answers: a model or adapter folder, a registered name (`NAME`, `NAME@champion`), or a Hub id."""
    ft_model_revision: Name = "main"
    """Branch, tag or commit of a model on the Hub; the commit that was really loaded is in `model_sha`."""
    test_ds_id: Name
    """Rows to answer: a folder, a file, a dataset that a tool saved, or a Hub dataset id."""
    test_ds_split: Name = "test_sft"
    """Split of those rows."""
    batch_infer_data_preprocess_bs: Count = 16
    """Rows that are checked and tokenized at once."""
    inference_bs: Count = 8
    """Prompts that are answered at once, each with its `repeat` answers."""
    repeat: Count = 4
    """Answers for each row."""
    push_lm_responses_to_hf_hub: bool = False
    """Write the answers to the Hub (HF_TOKEN); else they are saved on disk."""
    lm_response_ds_id: Name = "lm_responses"
    """Dataset of the answers: a folder, a name below WHETSTONE_HOME/datasets, or a Hub repository."""
    lm_response_ds_split: Name = "batch_infer"
    """Split of the answers."""
    lm_response_append: bool = False
    """Put the answers below those that are there; false takes their place."""
    max_new_tokens: Count = 256
    """Longest answer, in tokens."""
    do_sample: bool = True
    """Draw the answers; false takes the likeliest token each time, so that all answers of a row are the same."""
    temperature: Annotated[float, Field(gt=0)] = 0.7
    """Divides the logits before an answer is drawn: above 1 more varied, near 0 like the likeliest."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Draw from the likeliest tokens that have this probability together."""
    repetition_penalty: Annotated[float, Field(gt=0)] | None = None
    """Divides the logits of tokens that stand in prompt or answer; none takes what the model was judged with."""
    seed: int = 42
    """Seed of the answers: each row and repeat draws on its own, whatever else is in the batch."""
    long_prompts: Literal["refuse", "cut"] = "refuse"
    """A prompt that leaves no room for `max_new_tokens`: refuse the run, or leave out the oldest turns."""
