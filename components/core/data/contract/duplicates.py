"""Repeated ids and rows inside one split, found by sorting 64-bit hashes."""

from collections import Counter
from typing import Any

import numpy as np

from components.core.data.contract.ledger import Ledger
from components.core.data.contract.spool import Spool

_MIX = np.uint64(0x9E3779B97F4A7C15)


def check_ids(spool: Spool, ledger: Ledger) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """Report ids that the dataset gives twice, and make ids that were made from equal content unique.

    Returns:
        For each row, True when it repeats a given id: predictions are kept by id, so such a row cannot be judged.
    """
    repeats = np.zeros(len(spool), dtype=np.bool_)
    ids = spool.hashes("id")
    first = _first_positions(ids)
    seen: Counter[int] = Counter()
    for position in map(int, np.flatnonzero(first != np.arange(len(ids)))):
        original = int(first[position])
        file, row = spool.where(position)
        if spool.given_id(position) and spool.given_id(original):
            repeats[position] = True
            message = (
                f'the id is also that of {_name(spool, original, file)}; ids must be unique (1 and "1" are the same)'
            )
            ledger.add("duplicate_id", "error", file, row, message)
        else:
            seen[original] += 1
            spool.renamed[position] = f"-{seen[original] + 1}"
    return repeats


def check_rows(spool: Spool, ledger: Ledger) -> None:
    """Count rows that ask the same as an earlier one: with the same answer (duplicate) or another (conflict)."""
    keys, answers = spool.hashes("key"), spool.hashes("answer")
    with np.errstate(over="ignore"):
        both = (keys * _MIX) ^ answers
    order = np.arange(len(keys))
    first_key, first_both = _first_positions(keys), _first_positions(both)
    for position in map(int, np.flatnonzero(first_key != order)):
        duplicate = first_both[position] != position
        original = int(first_both[position] if duplicate else first_key[position])
        file, row = spool.where(position)
        earlier = _name(spool, original, file)
        if duplicate:
            ledger.add("duplicate_row", "warning", file, row, f"asks and answers the same as {earlier}")
        else:
            ledger.add("conflicting_answers", "warning", file, row, f"asks the same as {earlier} but answers otherwise")


def _name(spool: Spool, position: int, file: str) -> str:
    """A row, as seen from one in `file`."""
    home, row = spool.where(position)
    return f"row {row}" if home == file else f"{home}:{row}"


def _first_positions(hashes: "np.ndarray[Any, np.dtype[np.uint64]]") -> "np.ndarray[Any, np.dtype[np.intp]]":
    """For each row, the position of the first row with the same hash."""
    if not len(hashes):
        return np.empty(0, dtype=np.intp)
    order = np.argsort(hashes, kind="stable")
    ranked = hashes[order]
    starts = np.concatenate(([True], ranked[1:] != ranked[:-1]))
    first = np.empty(len(hashes), dtype=np.intp)
    first[order] = order[np.flatnonzero(starts)[np.cumsum(starts) - 1]]
    return first
