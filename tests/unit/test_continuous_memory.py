import random

from llm_endpoint.engines.continuous.memory import TokenMemory
from llm_endpoint.engines.continuous.rows import Row
from llm_endpoint.engines.seam import Sampling


def prompt(length: int, seed: int = 0) -> list[int]:
    draw = random.Random(seed)
    return [draw.randrange(2, 258) for _ in range(length)]


def row(key: int, ids: list[int], new: int = 10) -> Row:
    return Row(key, ids, len(ids), Sampling(max_new_tokens=new), frozenset(), None)


def test_stretches_of_rows_never_overlap() -> None:
    memory, draw = TokenMemory(1000), random.Random(1)
    running: list[Row] = []
    for key in range(2000):
        one = row(key, prompt(draw.randrange(1, 200), draw.randrange(30)))
        while not memory.place(one):
            memory.release(running.pop(draw.randrange(len(running))))
        places = memory.share(one)
        if places is not None:
            assert places[1] == one.start
            assert places[2] == one.done == one.cached < len(one.ids)
        one.done = len(one.ids)
        running.append(one)
        ends = sorted((other.start, other.start + other.need) for other in running)
        assert all(left[1] <= right[0] for left, right in zip(ends, ends[1:], strict=False))
        assert ends[-1][1] <= 1000


def test_a_row_that_cannot_be_placed_costs_no_kept_prefix() -> None:
    memory = TokenMemory(300)
    first, second = row(1, prompt(50)), row(2, prompt(90, 1))
    for one in (first, second):
        assert memory.place(one)
        one.done = len(one.ids)
    memory.release(first)
    assert not memory.place(row(3, prompt(150, 2)))
    again = row(4, prompt(50))
    assert memory.place(again)
    assert memory.share(again) is not None


def test_the_prefix_that_is_used_outlives_others() -> None:
    memory = TokenMemory(180)
    for key, seed in ((1, 1), (2, 2)):
        one = row(key, prompt(50, seed))
        assert memory.place(one)
        one.done = 50
        memory.release(one)
    used = row(3, prompt(50, 1) + prompt(30, 3))
    assert memory.place(used)
    assert memory.share(used) is not None
    assert used.cached == 50


def test_a_row_that_was_cancelled_early_does_not_replace_a_longer_one() -> None:
    memory = TokenMemory(400)
    for key, done in ((1, 100), (2, 20)):
        one = row(key, prompt(100))
        assert memory.place(one)
        one.done = done
        memory.release(one)
    again = row(3, prompt(100))
    assert memory.place(again)
    assert memory.share(again) == (0, again.start, 99)
