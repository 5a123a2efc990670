"""Parameters of preprocess_<task>: how rows are tokenized, and which columns hold what."""

from typing import Self

from pydantic import model_validator

from components.core.catalogue.values import AllOr, Count, Key, OptionalText, Parameters


class PreprocessParameters(Parameters):
    """What all tasks share."""

    batch_size: Count = 1000
    """Rows that are tokenized at once."""
    pad_to_max_length: bool = False
    """Pad every row to `max_seq_length`; false pads each batch to its longest row."""
    max_seq_length: AllOr = -1
    """Tokens of a row; longer ones are cut and counted. -1 is the model's maximum."""

    def columns(self) -> dict[str, str]:
        """Our column name to the dataset's, as `data.columns` of a recipe has it."""
        return {}

    @model_validator(mode="after")
    def _names_each_column_once(self) -> Self:
        names = list(self.columns().values())
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"column {', '.join(twice)} is named by two keys; name another column in one of them")
        return self


class TextParameters(PreprocessParameters):
    """A text, or a pair of texts."""

    sentence1_key: Key
    """Column of the text."""
    sentence2_key: OptionalText = None
    """Column of a second text that is read together with the first."""

    def columns(self) -> dict[str, str]:
        """Our column name to the dataset's."""
        return {"text": self.sentence1_key} | ({"text_pair": self.sentence2_key} if self.sentence2_key else {})


class SingleLabelPreprocess(TextParameters):
    """preprocess_classification_single_label."""

    label_key: Key
    """Column of the label: text, whole number or boolean."""

    def columns(self) -> dict[str, str]:
        """Our column name to the dataset's."""
        return super().columns() | {"label": self.label_key}


class MultiLabelPreprocess(TextParameters):
    """preprocess_classification_multi_label."""

    label_column_name: Key
    """Column of the labels: a list, or a list as text."""

    def columns(self) -> dict[str, str]:
        """Our column name to the dataset's."""
        return super().columns() | {"labels": self.label_column_name}


class RegressionPreprocess(TextParameters):
    """preprocess_regression."""

    label_key: Key
    """Column of the number to predict."""

    def columns(self) -> dict[str, str]:
        """Our column name to the dataset's."""
        return super().columns() | {"score": self.label_key}


class NERPreprocess(PreprocessParameters):
    """preprocess_ner."""

    token_key: Key
    """Column of the words: a list, or a JSON list as text."""
    tag_key: Key
    """Column of the tags, one for each word: a list, or a JSON list as text."""

    def columns(self) -> dict[str, str]:
        """Our column name to the dataset's."""
        return {"tokens": self.token_key, "ner_tags": self.tag_key}


PREPROCESS: dict[str, type[PreprocessParameters]] = {
    "classification_single_label": SingleLabelPreprocess,
    "classification_multi_label": MultiLabelPreprocess,
    "regression": RegressionPreprocess,
    "ner": NERPreprocess,
}
"""Parameters by the catalogue's task name."""
