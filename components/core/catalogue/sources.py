"""Parameters of preprocess_<task> beside those of its tokenization: where rows and base model come from."""

from collections.abc import Mapping
from typing import Any, Literal

from components.core.catalogue.checking import read_parameters
from components.core.catalogue.preprocess import PREPROCESS, PreprocessParameters
from components.core.catalogue.values import ALL, AllOr, Key, OptionalText, Parameters, Seed
from components.core.recipe import DataConfig, ModelConfig


class SourceParameters(Parameters):
    """Where rows and base model come from, and what happens to bad rows."""

    train_file: Key
    """Training rows: a file, folder, http(s) address or Hub dataset id; `starter` for the embedded rows of the task."""
    validation_file: OptionalText = None
    """Validation rows, where they are in a file of their own; missing splits are cut from the training rows."""
    test_file: OptionalText = None
    """Test rows, where they are in a file of their own."""
    model_id: Key = "starter"
    """Base model: Hub id, folder, or `starter` for the embedded model."""
    model_revision: OptionalText = None
    """Branch, tag or commit on the Hub."""
    split_seed: Seed = 42
    """Seed of the shuffle when a missing split is cut from the training rows."""
    max_rows: AllOr = ALL
    """Keep at most this many rows of each split; -1 keeps all."""
    on_bad_row: Literal["stop", "drop"] = "stop"
    """`stop` ends the run when a row breaks the contract; `drop` leaves those rows out and counts them."""
    on_leakage: Literal["drop", "warn", "stop"] = "drop"
    """What happens to training rows that also stand in validation or test."""

    def data(self, columns: Mapping[str, str]) -> DataConfig:
        """The rows as a recipe's data section has them.

        Args:
            columns: Our column name to the dataset's.
        """
        # the embedded rows have our own names
        named = {} if self.train_file == "starter" else dict(columns)
        return DataConfig(
            dataset_id=self.train_file,
            validation_file=self.validation_file,
            test_file=self.test_file,
            columns=named,
            seed=self.split_seed,
            max_rows=None if self.max_rows == ALL else self.max_rows,
            on_bad_row=self.on_bad_row,
            on_leakage=self.on_leakage,
        )

    def model(self) -> ModelConfig:
        """The base model as a recipe's model section has it."""
        return ModelConfig(model_id=self.model_id, revision=self.model_revision)


def read_preprocess(task: str, values: Mapping[str, Any]) -> tuple[PreprocessParameters, SourceParameters]:
    """All parameters of preprocess_<task>, checked.

    Args:
        task: The catalogue's name.
        values: By name; those that are not given take their default.

    Raises:
        ConfigError: With all problems of one group at once.
    """
    own = {name: value for name, value in values.items() if name in SourceParameters.model_fields}
    rest = {name: value for name, value in values.items() if name not in own}
    return read_parameters(PREPROCESS[task], rest), read_parameters(SourceParameters, own)
