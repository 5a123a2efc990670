"""What `dataset_info.json` says about the target: the numbers of the labels, or the scale of the scores."""

from typing import Any

from components.core.data.splits import Plan
from components.core.tasks import RowContract
from components.core.tasks.labels import sort_labels
from components.core.tasks.ner import tag_labels


def describe_target(plan: Plan, task: RowContract) -> dict[str, Any]:
    """Keys of `dataset_info.json` by the task's kind of target; none for a text.

    `labels`: all labels of all splits in the order of their numbers in the model (by value if all are whole numbers,
    else by code point), for entities the tags, with `entity_types` beside them. `target`: mean, standard deviation
    (of the population), minimum and maximum of the training scores, in their own unit.
    """
    if task.target_kind == "answer":
        return {}
    if task.target_kind == "score":
        train, positions = plan.parts["train"]
        scores = train.targets.scores(positions)
        low, high = float(scores.min()), float(scores.max())
        scale = {"mean": float(scores.mean()), "std": float(scores.std()), "minimum": low, "maximum": high}
        return {"target": scale}
    labels = all_labels(plan)
    if task.target_kind == "entities":
        return {"labels": tag_labels(labels), "entity_types": labels}
    return {"labels": labels}


def all_labels(plan: Plan) -> list[str]:
    """Labels, or entity types, of all splits, sorted."""
    return sort_labels(list({label for spool, rows in plan.parts.values() for label in spool.targets.counts(rows)}))
