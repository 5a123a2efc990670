"""What the two tools are told: `data_gen.py` and `dataset_merge.py`, each key also a flag of its name."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from components.core.recipe import Section
from components.core.service_llm import ServiceLLMConfig

DatasetId = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Split = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
TestSet = Annotated[str, StringConstraints(pattern=r"^.+:[^:/\\]+$")]
Similarity = Annotated[float, Field(gt=0.3, le=1)]
Score = Annotated[float, Field(ge=0, le=100)]


class DataGenConfig(ServiceLLMConfig):
    """New training rows from reference rows and from rows that the local model answered badly."""

    reference_ds_id: DatasetId
    """Dataset whose rows are the examples to follow: a folder, a file, what an earlier tool wrote, or a Hub id."""
    reference_ds_split: Split = "train_sft"
    """Its split; never a test split."""
    failed_ds_id: DatasetId | None = None
    """Judged answers of the local model (what evaluation.py wrote); none takes reference rows only."""
    failed_ds_split: Split = "eval"
    """Their split."""
    avg_similarity_threshold: Score = 90
    """A judged row counts as failed when its mean similarity is below this ..."""
    avg_precision_threshold: Score = 90
    """... or its mean precision is below this."""
    failed_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the calls that start from a failed row, where there are any."""
    test_ds_id: DatasetId | None = None
    """Dataset of the test split that no new row may repeat; none means the reference dataset."""
    test_ds_split: Split | None = "test_sft"
    """That test split; `null` says that there is none, and the report repeats it."""
    more_test_sets: tuple[TestSet, ...] = ()
    """Further test splits that no new row may repeat, each as ID:SPLIT."""
    topic: str = ""
    """What the new rows are about; empty leaves it to the reference rows."""
    num_samples: Annotated[int, Field(ge=1)] = 100
    """New rows that are kept before it ends."""
    samples_per_call: Annotated[int, Field(ge=1, le=50)] = 5
    """New rows that one call asks for."""
    max_calls: Annotated[int, Field(ge=1)] | None = None
    """Calls after which it ends with what there is; none takes four times what would do if every row were kept."""
    gen_workers: Annotated[int, Field(ge=1, le=256)] = 4
    """Calls under way at a time."""
    seed: int = 42
    """Seed of the order in which reference and failed rows are used."""
    near_duplicate_similarity: Similarity = 0.6
    """Similarity (word pairs) from which two prompts count as the same."""
    max_tokens: Annotated[int, Field(ge=1)] = 4096
    """Longest answer of the service LLM, in tokens; it holds `samples_per_call` rows."""
    synth_ds_id: DatasetId
    """Where the new rows go: a name under WHETSTONE_HOME/datasets, a folder, or a Hub id."""
    synth_ds_split: Split = "train_sft"
    """The split that is written."""
    synth_ds_append: bool = False
    """Add below the rows that the split has, which no new row may repeat; else they are replaced."""
    push_synth_ds_to_hf_hub: bool = False
    """Write it to the Hub, too (HF_TOKEN)."""
    resume: bool = True
    """Go on where an earlier run of the same settings ended, without asking again; `false` asks for everything anew."""

    @property
    def call_limit(self) -> int:
        """Calls after which it ends."""
        return self.max_calls or 4 * -(-self.num_samples // self.samples_per_call)

    @property
    def test_sets(self) -> list[tuple[str, str]]:
        """Dataset and split of every test split."""
        first = [] if self.test_ds_split is None else [(self.test_ds_id or self.reference_ds_id, self.test_ds_split)]
        return first + named_test_sets(self.more_test_sets)

    @model_validator(mode="after")
    def _learns_from_no_test_split(self) -> Self:
        if (self.reference_ds_id, self.reference_ds_split) in self.test_sets:
            raise ValueError(
                f"reference_ds_split {self.reference_ds_split} is also a test split; name the training rows there"
            )
        return self


class DatasetMergeConfig(Section):
    """Two datasets, or a dataset and users' feedback, made into one."""

    ds1_id: DatasetId
    """First dataset: a folder, a file, what an earlier tool wrote, or a Hub id. Of two equal rows its own stays."""
    ds1_split: Split = "train_sft"
    """Its training rows."""
    ds1_test_split: Split | None = "test_sft"
    """Its test split, which no training row may repeat; `null` says that it has none."""
    ds2_id: DatasetId | None = None
    """Second dataset; none merges only feedback in."""
    ds2_split: Split = "train_sft"
    """Its training rows."""
    ds2_test_split: Split | None = None
    """Its test split, if it has one."""
    feedback_file: Path | None = None
    """Rows that users taught with their consent (WHETSTONE_HOME/feedback.jsonl of the endpoint)."""
    feedback_model: str | None = None
    """The model whose prompt they are put into: a folder or NAME@VERSION; none takes the default prompt template."""
    more_test_sets: tuple[TestSet, ...] = ()
    """Further test splits that no training row may repeat, each as ID:SPLIT."""
    near_duplicate_similarity: Similarity = 0.9
    """Similarity (word pairs) from which two prompts count as the same."""
    result_ds_id: DatasetId
    """Where the merged rows go: a name under WHETSTONE_HOME/datasets, a folder, or a Hub id."""
    result_train_split: Split = "train_sft"
    """Split of the merged training rows."""
    result_test_split: Split = "test_sft"
    """Split of the test rows."""
    result_train_append: bool = False
    """Keep the rows that the training split has, and add below them; else they are replaced."""
    result_test_append: bool = False
    """Add the test rows of both datasets to the test split; else it stays as it is, or is the first dataset's."""
    push_result_ds_to_hf_hub: bool = False
    """Write it to the Hub, too (HF_TOKEN)."""

    @property
    def test_sets(self) -> list[tuple[str, str]]:
        """Dataset and split of every test split."""
        own = [(self.ds1_id, self.ds1_test_split), (self.ds2_id, self.ds2_test_split)]
        return [(id_, split) for id_, split in own if id_ and split] + named_test_sets(self.more_test_sets)

    @model_validator(mode="after")
    def _has_something_to_merge(self) -> Self:
        if self.ds2_id is None and self.feedback_file is None:
            raise ValueError("ds2_id or feedback_file must be set; with neither there is nothing to merge")
        if self.ds2_id is None and self.ds2_test_split is not None:
            raise ValueError("ds2_test_split is set, but ds2_id is not")
        if self.result_train_split == self.result_test_split:
            raise ValueError("result_train_split and result_test_split must differ")
        for dataset, split in ((self.ds1_id, self.ds1_split), (self.ds2_id, self.ds2_split)):
            if (dataset, split) in self.test_sets:
                raise ValueError(f"{dataset}:{split} is both training rows and a test split")
        return self


def named_test_sets(names: tuple[str, ...]) -> list[tuple[str, str]]:
    """ID:SPLIT as two."""
    return [(name.rpartition(":")[0], name.rpartition(":")[2]) for name in names]
