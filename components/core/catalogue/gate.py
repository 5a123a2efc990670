"""Parameters of evaluate_<task>: the rule that decides whether the tuned model may go on."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from components.core.catalogue.values import NotNegative, Parameters

Demand = Literal["better", "not_worse", "ignore"]


def _nothing_if_empty(value: Any) -> Any:
    return None if value == "" else value


class HeadGate(Parameters):
    """What all tasks share. The base that every model must beat is the majority answer of the training rows."""

    metric: str
    """Metric whose differences are tested."""
    enabled: bool = True
    """False records the verdict but lets every model pass, with a warning."""
    min_improvement: NotNegative = 0.0
    """The lower bound of (tuned - base) must lie above this: a share, or a number in the metric's own unit."""
    minimum: Annotated[float | None, BeforeValidator(_nothing_if_empty)] = None
    """Smallest score of the tuned model in the metric; of mae and rmse the largest. None asks for none."""
    bag_of_words: Demand = "ignore"
    """Against a bag-of-words model of the same training rows: `better`, `not_worse` by `tolerance`, or not asked."""
    champion: Demand = "not_worse"
    """Against the registered champion: `better` needs a lower bound above 0, `not_worse` one above -`tolerance`."""
    tolerance: NotNegative = 0.02
    """How much worse the lower bound may be with `not_worse`: a share, or a number in the metric's own unit."""


class SingleLabelGate(HeadGate):
    """evaluate_classification_single_label."""

    metric: Literal["accuracy", "f1_macro", "recall_macro", "mcc"] = "accuracy"
    """Metric whose differences are tested."""


class MultiLabelGate(HeadGate):
    """evaluate_classification_multi_label."""

    metric: Literal["f1_micro", "f1_macro", "f1_samples", "accuracy"] = "f1_micro"
    """Metric whose differences are tested."""


class RegressionGate(HeadGate):
    """evaluate_regression."""

    metric: Literal["r2", "pearson", "mae", "rmse"] = "r2"
    """Metric whose differences are tested; a smaller mae or rmse counts as a gain."""


class NERGate(HeadGate):
    """evaluate_ner."""

    metric: Literal["f1", "f1_macro"] = "f1"
    """Metric whose differences are tested."""


EVALUATE: dict[str, type[HeadGate]] = {
    "classification_single_label": SingleLabelGate,
    "classification_multi_label": MultiLabelGate,
    "regression": RegressionGate,
    "ner": NERGate,
}
"""Parameters by the catalogue's task name."""
