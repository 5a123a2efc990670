import random

from components.core.data.packing import pack


def lengths_of(count: int, capacity: int) -> list[int]:
    rng = random.Random(7)
    return [rng.randint(1, capacity) for _ in range(count)]


def test_every_example_is_packed_once_and_no_sequence_is_over_full():
    lengths = lengths_of(2000, 128)
    packs = pack(lengths, 128, seed=0)
    assert sorted(index for rows in packs for index in rows) == list(range(2000))
    assert max(sum(lengths[index] for index in rows) for rows in packs) <= 128


def test_sequences_are_nearly_full():
    lengths = lengths_of(2000, 64)
    packs = pack(lengths, 128, seed=0)
    assert sum(lengths) / (len(packs) * 128) > 0.98


def test_the_best_fitting_open_sequence_is_taken():
    assert sorted(sorted(rows) for rows in pack([7, 6, 4, 3], 10, seed=0)) == [[0, 3], [1, 2]]


def test_one_seed_gives_one_order_and_another_seed_another():
    lengths = [5] * 50
    assert pack(lengths, 10, seed=1) == pack(lengths, 10, seed=1)
    assert pack(lengths, 10, seed=1) != pack(lengths, 10, seed=2)


def test_neighbours_in_the_file_are_not_neighbours_in_training():
    packs = pack([5] * 100, 10, seed=0)
    assert sum(abs(first - second) == 1 for first, second in packs) < 10


def test_nothing_gives_no_sequences():
    assert pack([], 10, seed=0) == []
