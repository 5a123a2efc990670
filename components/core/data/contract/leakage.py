"""Training rows that also stand in validation or test, as exact or near copies."""

import logging
from collections.abc import Iterator
from typing import Literal

import numpy as np

from components.core.data.contract.ledger import Ledger
from components.core.data.contract.near_copies import NearCopies, asked_words, jaccard, similarity
from components.core.data.contract.reading import Progress
from components.core.data.contract.spool import Spool
from components.core.data.splits import Plan, Positions
from components.core.recipe import DataConfig
from components.core.tasks.seam import RowContract

logger = logging.getLogger(__name__)

Severity = Literal["error", "warning"]
HELD_OUT = ("validation", "test")
_REMEMBERED_QUESTIONS = 50_000
_REMEMBERED_WORDS = 100


def find_leaks(plan: Plan, task: RowContract, data: DataConfig, ledger: Ledger) -> Positions:
    """Report leaking training rows and return their positions in the training spool."""
    train, positions = plan.parts["train"]
    held_out = [(split, *plan.parts[split]) for split in HELD_OUT if split in plan.parts]
    keys = train.hashes("key")[positions]
    leaking = np.zeros(len(positions), dtype=np.bool_)
    severity: Severity = "error" if data.on_leakage == "stop" else "warning"
    for split, spool, rows in held_out:
        exact = np.isin(keys, spool.hashes("key")[rows])
        for position in positions[exact & ~leaking]:
            message = f"asks the same as a row of {split} (data.on_leakage={data.on_leakage})"
            ledger.add("leakage_exact", severity, *train.where(position), message, fatal=severity == "error")
        leaking |= exact
    rest = np.flatnonzero(~leaking)
    near = _near(train, positions[rest], held_out, task, data)
    for number, split, row, score in near:
        position = positions[rest[number]]
        message = f"near copy of row {row} of {split} (similarity {score:.2f}, data.on_leakage={data.on_leakage})"
        ledger.add("leakage_near", severity, *train.where(position), message, fatal=severity == "error")
        leaking[rest[number]] = True
    _check_held_out(plan, ledger)
    _check_contexts(train, positions[~leaking], held_out, ledger)
    return positions[leaking]


def _near(
    train: Spool,
    positions: Positions,
    held_out: list[tuple[str, Spool, Positions]],
    task: RowContract,
    data: DataConfig,
) -> Iterator[tuple[int, str, int, float]]:
    """Number in `positions`, split and row of the copy, and similarity, of each near copy."""
    fixed = _HeldOut(held_out, task)
    if not len(fixed) or not len(positions):
        return
    logger.info("Looking for near copies: %d training rows against %d held-out rows", len(positions), len(fixed))
    index = NearCopies(seed=data.seed)
    index.build(map(fixed.key, range(len(fixed))))
    texts = (task.row_key(train.row(position)) for position in positions)
    progress = Progress("Compared with the held-out rows")
    for number, (text, candidates) in enumerate(index.candidates(texts)):
        progress.tick(number)
        asked = asked_words(text) if candidates else frozenset()
        for candidate in candidates:
            if jaccard(asked, fixed.asked(candidate)) < data.near_duplicate_similarity:
                continue
            score = similarity(text, fixed.key(candidate))
            if score >= data.near_duplicate_similarity:
                yield number, *fixed.where(candidate), score
                break


class _HeldOut:
    """The rows of validation and test, by one running number."""

    def __init__(self, held_out: list[tuple[str, Spool, Positions]], task: RowContract) -> None:
        self._task = task
        self._rows = [(split, spool, int(position)) for split, spool, rows in held_out for position in rows]
        self._asked: dict[int, frozenset[str]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def key(self, number: int) -> str:
        """What a row asks."""
        _, spool, position = self._rows[number]
        return self._task.row_key(spool.row(position))

    def where(self, number: int) -> tuple[str, int]:
        """Split and row number."""
        split, spool, position = self._rows[number]
        return split, spool.where(position)[1]

    def asked(self, number: int) -> frozenset[str]:
        """Words of the question; remembered, because with a shared long context reading a row again takes long."""
        words = self._asked.get(number)
        if words is None:
            words = asked_words(self.key(number))
            if len(words) <= _REMEMBERED_WORDS and len(self._asked) < _REMEMBERED_QUESTIONS:
                self._asked[number] = words
        return words


def _check_contexts(
    train: Spool, positions: Positions, held_out: list[tuple[str, Spool, Positions]], ledger: Ledger
) -> None:
    """Say when other questions on a training row's context are held out: legitimate, but easier than a new context."""
    groups = train.hashes("group")[positions]
    for split, spool, rows in held_out:
        shared = int(np.isin(groups, spool.hashes("group")[rows]).sum())
        if shared:
            message = f"{shared:,} training rows ask another question about a context of {split}; they are kept"
            ledger.add("shared_context", "warning", split, 0, message)


def _check_held_out(plan: Plan, ledger: Ledger) -> None:
    """Count test rows that also stand in validation: choosing by one then flatters the other."""
    if not all(split in plan.parts for split in HELD_OUT):
        return
    (validation, watched), (test, judged) = (plan.parts[split] for split in HELD_OUT)
    shared = np.isin(test.hashes("key")[judged], validation.hashes("key")[watched])
    for position in judged[shared]:
        ledger.add("validation_test_overlap", "warning", *test.where(position), "asks the same as a row of validation")
