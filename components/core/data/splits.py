"""Cuts missing splits out of the training rows, and keeps at most `data.max_rows` of each."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from components.core.data.contract.ledger import Ledger
from components.core.data.contract.spool import Spool
from components.core.data.sources import SPLITS
from components.core.data.sources.split_files import file_key, split_files
from components.core.data.strata import cut_strata, stratify
from components.core.recipe import DataConfig
from components.core.tasks.seam import RowContract

Positions = np.ndarray[Any, np.dtype[np.intp]]
_SHARE_OF_EACH = 0.1
_SHARE_OF_ONE = 0.2
"""Only train: 80/10/10; train and one other: the missing one gets 20 % of train."""


@dataclass
class Plan:
    """Which rows of which spool become which split, in the order of the output."""

    parts: dict[str, tuple[Spool, Positions]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    """How each split was made, for the report."""


def plan_splits(
    spools: dict[str, Spool], usable: dict[str, Positions], task: RowContract, data: DataConfig, ledger: Ledger
) -> Plan:
    """Decide where each row goes.

    Args:
        spools: Rows of the splits that the dataset has; `train` is one of them.
        usable: Positions that may be used, by split.
        task: Decides by what a cut is stratified.
        data: Seed.
        ledger: Gets an error when there are too few rows to cut.
    """
    plan = Plan()
    for split, spool in spools.items():
        plan.parts[split] = (spool, usable[split])
        own_file = split in split_files(data)
        plan.notes[split] = f"as in {file_key(split)}, in its order" if own_file else "as in the dataset, in its order"
    missing = [split for split in SPLITS if split not in spools]
    if not missing:
        return plan
    train, positions = spools["train"], usable["train"]
    if len(positions) <= len(missing):
        names = ", ".join(["train", *missing])
        message = f"too few rows: {len(positions)} cannot be cut into {names}; give more rows, or all splits"
        ledger.add("too_few_rows", "error", "train", 0, message, fatal=True)
        return plan
    share = _SHARE_OF_EACH if len(missing) == 2 else _SHARE_OF_ONE
    rng = np.random.default_rng(data.seed)
    wanted = max(1, round(share * len(positions)))
    taken, how = _take(train, positions, [wanted] * len(missing), task, rng, ledger)
    kept = np.setdiff1d(np.arange(len(positions)), np.concatenate(taken))
    for split, part in zip(missing, taken, strict=True):
        plan.parts[split] = (train, positions[part])
        plan.notes[split] = f"{len(part):,} rows ({share:.0%}) cut from train, {how}, seed {data.seed}"
    plan.parts["train"] = (train, positions[rng.permutation(kept)])
    plan.notes["train"] = f"the rest of the dataset's train split, shuffled with seed {data.seed}"
    return plan


def _take(
    train: Spool, positions: Positions, wanted: list[int], task: RowContract, rng: np.random.Generator, ledger: Ledger
) -> tuple[list[Positions], str]:
    """Rows of each new split as indices into `positions`, and how they were chosen."""
    groups = train.hashes("group")[positions]
    strata = stratify(train.targets, positions, task.target_kind)
    parts = cut_strata(strata, groups, wanted, rng) if strata else None
    if strata and parts:
        return parts, f"shuffled and stratified {strata.by}; rows with the same text stay together"
    parts = _cut(groups, wanted, rng)
    if parts:
        unit = "texts, which stay together (too few rows to stratify)" if strata else "contexts, which stay whole"
        return parts, f"shuffled by {unit}"
    unit = "texts" if strata else "contexts"
    ledger.add(
        "split_by_rows", "warning", "train", 0,
        f"too few or too unequal {unit} to keep each in one split; cut by rows, so {unit} recur across splits",
    )  # fmt: skip
    order, size = rng.permutation(len(positions)), wanted[0]
    return [order[number * size : (number + 1) * size] for number in range(len(wanted))], "shuffled row by row"


def limit_rows(plan: Plan, data: DataConfig) -> None:
    """Keep `data.max_rows` of each split, the first after a seeded shuffle."""
    if data.max_rows is None:
        return
    for split, (spool, positions) in plan.parts.items():
        if len(positions) > data.max_rows:
            order = np.random.default_rng(data.seed).permutation(len(positions))[: data.max_rows]
            plan.parts[split] = (spool, positions[order])
            plan.notes[split] += f"; {data.max_rows:,} of {len(positions):,} kept (data.max_rows), shuffled"


def _cut(
    groups: "np.ndarray[Any, np.dtype[np.uint64]]", wanted: list[int], rng: np.random.Generator
) -> list[Positions] | None:
    """Rows of each new split, whole groups at a time; None when the groups are too few or too large for that."""
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(sizes) <= len(wanted):
        return None
    order = rng.permutation(len(sizes))
    home = np.zeros(len(sizes), dtype=np.int8)  # 0 stays in train, else the number of the new split
    for number, target in enumerate(wanted, start=1):
        room = target
        for group in order:
            if room <= 0:
                break
            if home[group] == 0 and sizes[group] <= room:
                home[group] = number
                room -= int(sizes[group])
        if room == target:
            free = np.flatnonzero(home == 0)
            home[free[np.argmin(sizes[free])]] = number
    homes = home[member]
    if np.count_nonzero(homes == 0) < len(groups) / 2:
        return None
    return [rng.permutation(np.flatnonzero(homes == number)) for number in range(1, len(wanted) + 1)]
