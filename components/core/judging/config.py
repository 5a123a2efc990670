"""What `evaluation.py` is told; each key is also a flag of its name."""

from typing import Annotated

from pydantic import Field, StringConstraints

from components.core.recipe.section import Count
from components.core.service_llm import ServiceLLMConfig

DatasetId = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Score = Annotated[float, Field(ge=0, le=100)]
Confidence = Annotated[float, Field(gt=0.5, lt=1)]


class JudgeConfig(ServiceLLMConfig):
    """The judge (a service LLM, or a local model behind an OpenAI-compatible address), the answers and the rule."""

    lm_response_ds_id: DatasetId
    """Dataset with the answers, as batch_inference.py writes it: a folder, a file, a saved dataset or a Hub id."""
    lm_response_ds_split: DatasetId = "batch_infer"
    """Its split."""
    eval_repeat: Count = 10
    """Judgements of each answer, at most; a sequential test ends before where the verdict is certain."""
    eval_workers: Annotated[int, Field(ge=1, le=256)] = 4
    """Calls under way at a time."""
    avg_similarity_threshold: Score = 90.0
    """Mean similarity from which the model is good enough."""
    avg_precision_threshold: Score = 90.0
    """Mean precision from which the model is good enough."""
    sequential: bool = True
    """Stop judging once the verdict is certain, or more judgements would not change it; `false` judges everything."""
    confidence: Confidence = 0.95
    """Of the intervals on which the verdict rests."""
    bootstrap_samples: Annotated[int, Field(ge=100)] = 2000
    """Resamples of the instructions behind each interval."""
    seed: int = 42
    """Seed of the order in which instructions are judged, and of the resampling."""
    calibration_rows: Annotated[int, Field(ge=4)] = 20
    """Instructions whose answers of known quality `calibrate` has judged."""
    calibration_repeat: Annotated[int, Field(ge=2)] = 3
    """Judgements of each of them."""
    eval_ds_id: DatasetId = "evaluation"
    """Where the judged rows go: a name under WHETSTONE_HOME/datasets, a folder, or a Hub id."""
    eval_ds_split: DatasetId = "eval"
    """The split that is written."""
    eval_ds_append: bool = False
    """Add below the rows that the split has; else they are replaced."""
    push_eval_to_hf_hub: bool = False
    """Write it to the Hub instead of the disk (HF_TOKEN)."""
    resume: bool = True
    """Use the judgements of an earlier run on the same answers by the same judge; `false` asks for everything anew."""
