"""Invented names, and their division into disjoint splits.

A name is two or three syllables from a fixed inventory ("Bal" + "mora", "Bal" + "de" + "mora"), so that
every syllable can be one token. The syllables are shared; the names themselves are not: a hash of the
name decides the one split that may use it.
"""

import hashlib
import itertools
import random
from typing import Literal

Split = Literal["pretrain", "train", "validation", "test"]


def words(text: str) -> tuple[str, ...]:
    """Split a line of words; shorter to read than a list of quoted ones."""
    return tuple(text.split())


FIRST_SYLLABLES = tuple(
    onset + rime
    for onset, rime in itertools.product(
        words("B D F G H J K L M N P R S T V Br Dr Gr Kr Tr St Sk"), words("al en or il ur")
    )
)
MIDDLE_SYLLABLES = words("ba de ki lo mu na re si to va ze fi")
LAST_SYLLABLES = tuple(
    onset + rime
    for onset, rime in itertools.product(words("m v d k n s t g l r"), words("ora ane ik esh und ova eth ost una yr"))
)

WOMEN = words("Anna Clara Elsa Eva Ida Irene Julia Laura Lucy Maria Nina Rosa Ruth Sara Vera")
MEN = words("Adam Carl David Felix Hugo Ivan James Karl Leo Mark Oscar Paul Peter Robert Simon")

# Bucket limits out of 100; the largest share goes to pretraining, which needs the most names.
_SPLIT_LIMITS: tuple[tuple[int, Split], ...] = ((64, "pretrain"), (80, "train"), (88, "validation"), (100, "test"))


def split_of(name: str) -> Split:
    """Return the only split in which `name` may occur."""
    bucket = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % 100
    return next(split for limit, split in _SPLIT_LIMITS if bucket < limit)


def draw_name(rng: random.Random, split: Split) -> str:
    """Draw one name that belongs to `split`."""
    while True:
        middle = rng.choice(MIDDLE_SYLLABLES) if rng.random() < 0.3 else ""
        name = rng.choice(FIRST_SYLLABLES) + middle + rng.choice(LAST_SYLLABLES)
        if split_of(name) == split:
            return name
