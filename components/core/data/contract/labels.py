"""What is checked over all labels and scores: kinds, spellings, one class, classes that only held-out rows show."""

import re
from collections import defaultdict
from typing import Any

import numpy as np

from components.core.data.contract.columns import Columns
from components.core.data.contract.ledger import Ledger
from components.core.data.naming import printable
from components.core.data.splits import Plan
from components.core.recipe import DataConfig
from components.core.tasks.seam import RowContract

_DELIMITED = re.compile(r"\.(csv|tsv)(\.gz)?$", re.IGNORECASE)
_OUTLIER_RANGES = 10
_MANY_LABELS = 20
_TEXT_TYPE, _PAIR = "str", "text_pair"


def check_columns(columns: dict[str, Columns], files: dict[str, list[str]], task: RowContract, ledger: Ledger) -> None:
    """Look at the types of labels and scores, and at pairs, one finding for each split."""
    for split, counts in columns.items():
        pairs = counts.counts[_PAIR].types if _PAIR in counts.counts and _PAIR in task.optional_columns else {}
        single = counts.rows - sum(number for kind, number in pairs.items() if kind != "NoneType")
        if 0 < single < counts.rows:
            message = f"{single:,} of {counts.rows:,} rows have no text_pair; they are read as single texts"
            ledger.add("pair_missing", "warning", split, 0, message)
        if task.target_kind == "label":
            _check_label_types(split, counts, ledger)
        delimited = all(_DELIMITED.search(name) for name in files.get(split, []))
        if task.target_kind == "score" and _TEXT_TYPE in counts.types("score") and not delimited:
            number = counts.counts["score"].types[_TEXT_TYPE]
            ledger.add("score_as_text", "warning", split, 0, f"score: {number:,} rows write the number as text")


def _check_label_types(split: str, counts: Columns, ledger: Ledger) -> None:
    kinds = counts.types("label")
    if "bool" in kinds and len(kinds) > 1:
        message = "label: true/false beside text or numbers; nothing says whether true is 1. Write one kind"
        ledger.add("mixed_label_types", "error", split, 0, message, fatal=True)
    elif _TEXT_TYPE in kinds and kinds & {"int", "float"}:
        message = 'label: text beside numbers; 1 and "1" are taken as the same label'
        ledger.add("mixed_label_types", "warning", split, 0, message)
    if "float" in kinds:
        number = counts.counts["label"].types["float"]
        message = f"label: {number:,} rows have a decimal point (1.0 was read as the label 1); were some labels empty?"
        ledger.add("float_label", "warning", split, 0, message)


def check_targets(plan: Plan, task: RowContract, data: DataConfig, ledger: Ledger) -> None:
    """Hold the labels or scores of the final splits against each other."""
    if task.target_kind == "answer":
        return
    if task.target_kind == "score":
        _check_scores(plan, ledger)
        return
    _check_spellings(plan, ledger)
    train, positions = plan.parts["train"]
    counts = train.targets.counts(positions)
    if not _check_variety(counts, task, ledger):
        return
    if task.target_kind != "entities":
        for label, position in train.targets.first_rows(positions):
            if counts[label] == 1:
                message = f"label {_shown(label)} has one training row; give more, or merge it into another label"
                ledger.add("one_example_label", "warning", *train.where(position), message)
    for split in ("validation", "test"):
        # a sample of many classes shows few of them, and a cut of train has its names
        own_names = data.max_rows is None and plan.parts[split][0] is not train
        _check_held_out(plan, split, set(counts), own_names, ledger)


def _check_variety(counts: dict[str, int], task: RowContract, ledger: Ledger) -> bool:
    """Training rows must show something to tell apart; False if they do not."""
    problem = ""
    if task.target_kind == "label" and len(counts) < 2:
        problem = f"all training rows have one label, {_shown(*counts)}; a classifier needs at least two"
    elif task.target_kind == "label" and len(counts) >= _MANY_LABELS and max(counts.values()) < 2:
        problem = f"none of {len(counts):,} labels has two training rows; is data.columns.label the right column?"
    elif task.target_kind == "labels" and not counts:
        problem = "no training row has a label; there is nothing to learn"
    elif task.target_kind == "entities" and not counts:
        problem = "no training row has an entity (all tags are O); there is nothing to learn"
    if problem:
        ledger.add("too_few_labels", "error", "train", 0, problem, fatal=True)
    return not problem


def _check_held_out(plan: Plan, split: str, learned: set[str], own_names: bool, ledger: Ledger) -> None:
    """Labels that training never shows: remarked, or refused where most rows have one (other names, surely)."""
    spool, positions = plan.parts[split]
    unseen = [(label, row) for label, row in spool.targets.first_rows(positions) if label not in learned]
    for label, position in unseen:
        message = f"label {_shown(label)} of {split} is in no training row; the model cannot learn it"
        ledger.add("label_not_in_train", "warning", *spool.where(position), message)
    if not unseen or not own_names:
        return
    names = {label for label, _ in unseen}
    rows, numbers = spool.targets.labels(positions)
    foreign = np.array([name in names for name in spool.targets.names])[numbers]
    affected = len(np.unique(rows[foreign]))
    if affected > len(positions) / 2:
        known = ", ".join(_shown(label) for label in sorted(learned)[:5])
        message = f"{affected:,} of {len(positions):,} rows have a label that training never shows; train has {known}"
        ledger.add("other_labels", "error", split, 0, f"{message}. Use the same names in all splits", fatal=True)


def _check_spellings(plan: Plan, ledger: Ledger) -> None:
    spellings: dict[str, set[str]] = defaultdict(set)
    for spool, positions in plan.parts.values():
        for label in spool.targets.counts(positions):
            folded = re.sub(r"[\s_-]+", " ", label.casefold()).strip()
            spellings[re.sub(r"\.0+$", "", folded)].add(label)
    for alike in spellings.values():
        if len(alike) > 1:
            message = f"{', '.join(map(_shown, sorted(alike)))} look like one label; they are kept apart"
            ledger.add("label_spellings", "warning", "all splits", 0, message)


def _check_scores(plan: Plan, ledger: Ledger) -> None:
    train, positions = plan.parts["train"]
    scores = train.targets.scores(positions)
    if scores.min() == scores.max():
        message = f"all training rows have the score {scores[0]:g}; there is nothing to learn"
        ledger.add("constant_score", "error", "train", 0, message, fatal=True)
        return
    if not _can_be_normalised(scores):
        message = "the training scores are too large or too close together, so that they cannot be normalised"
        ledger.add("score_scale", "error", "train", 0, f"{message}; give them in another unit", fatal=True)
        return
    low, middle, high = (float(value) for value in np.quantile(scores, [0.25, 0.5, 0.75]))
    for spool, rows in plan.parts.values() if high > low else ():
        values = spool.targets.scores(rows)
        with np.errstate(over="ignore"):
            far = np.abs(values - middle) > _OUTLIER_RANGES * (high - low)
        for position, value in zip(rows[far], values[far], strict=True):
            message = f"score: {value:g} is far from the others (half of train lies between {low:g} and {high:g})"
            ledger.add("score_outlier", "warning", *spool.where(int(position)), message)


def _can_be_normalised(scores: "np.ndarray[Any, np.dtype[np.float64]]") -> bool:
    """Whether the learned (score - mean) / std are numbers, also as float32."""
    with np.errstate(all="ignore"):
        normalised = ((scores - scores.mean()) / scores.std()).astype(np.float32)
        return bool(scores.std() > 0 and np.isfinite(scores.std()) and np.isfinite(normalised).all())


def _shown(label: str) -> str:
    return f"`{printable(label[:40])}`"
