"""Packing: several short examples in one sequence of a fixed capacity."""

import random
from collections.abc import Sequence


def pack(lengths: Sequence[int], capacity: int, seed: int) -> list[list[int]]:
    """Distribute examples over sequences, best fit first, longest example first.

    Examples of one length are taken in random order and the sequences come back in random order, so that neighbours in
    the file are not neighbours in training.

    Args:
        lengths: Tokens of each example, 1 to `capacity`.
        capacity: Tokens of one sequence.
        seed: Seed of both orders; the same seed gives the same packs.

    Returns:
        Indices into `lengths` by sequence; every index exactly once.
    """
    rng = random.Random(seed)
    order = list(range(len(lengths)))
    rng.shuffle(order)
    order.sort(key=lengths.__getitem__, reverse=True)  # stable, so ties stay shuffled
    packs: list[list[int]] = []
    by_space: list[list[list[int]]] = [[] for _ in range(capacity + 1)]
    # bit s says that a sequence with s free tokens is open; the lowest bit from `length` up is the best fit
    open_spaces = 0
    for index in order:
        length = lengths[index]
        fitting = open_spaces >> length
        if fitting:
            space = length + (fitting & -fitting).bit_length() - 1
            chosen = by_space[space].pop()
            if not by_space[space]:
                open_spaces ^= 1 << space
        else:
            space, chosen = capacity, []
            packs.append(chosen)
        chosen.append(index)
        if space > length:
            by_space[space - length].append(chosen)
            open_spaces |= 1 << (space - length)
    rng.shuffle(packs)
    return packs
