"""Inputs as padded arrays, and which of them go together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.core.errors import StorageError
from components.core.heads.batches import pad, plan_by_length
from components.core.heads.tokens import TokenCounts, TokenTable
from components.core.tasks.heads import EncodedInputs, Head, Piece


def make_head(types: bool) -> Head:
    labels = ["a", "b"]
    return Head(task="single_label", labels=labels, columns={}, max_seq_length=9, pad_token_id=7, token_type_ids=types)


def test_padding_is_on_the_right_and_masked():
    batch = pad([[1, 2, 3], [4]], [[0, 0, 1], [1]], make_head(types=True))
    assert batch["input_ids"].tolist() == [[1, 2, 3], [4, 7, 7]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["token_type_ids"].tolist() == [[0, 0, 1], [1, 0, 0]]
    assert {array.dtype for array in batch.values()} == {np.dtype(np.int64)}


def test_a_length_may_be_asked_for_and_types_left_out():
    batch = pad([[1]], [[]], make_head(types=False), length=4)
    assert batch["input_ids"].tolist() == [[1, 7, 7, 7]]
    assert set(batch) == {"input_ids", "attention_mask"}


@given(
    lengths=st.lists(st.integers(1, 50), max_size=60),
    tokens=st.integers(1, 120),
    most=st.none() | st.integers(1, 5),
)
def test_every_input_is_in_one_batch_that_is_not_too_large(lengths, tokens, most):
    batches = plan_by_length(lengths, tokens, most)
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * max(lengths[place] for place in batch)
        assert padded <= tokens or len(batch) == 1
        assert most is None or len(batch) <= most
    longest = [max(lengths[place] for place in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)


def test_counts_name_the_longest_and_the_first_cut_rows():
    counts = TokenCounts()
    for first in range(0, 90, 30):
        pieces = [Piece(row, [1] * (row % 7 + 1), [0] * (row % 7 + 1)) for row in range(30)]
        pieces.append(Piece(29, [1] * (first + 1), [0] * (first + 1)))
        counts.add(EncodedInputs(pieces, [row % 2 == 1 for row in range(30)]))
    assert (counts.rows, counts.inputs, counts.longest, counts.cut) == (90, 93, 61, 45)
    assert counts.cut_rows == list(range(2, 42, 2))
    assert counts.longest_rows[:3] == [(63, 90), (33, 60), (7, 7)]
    assert len(counts.longest_rows) == 20
    assert sum(length * inputs for length, inputs in counts.lengths.items()) == counts.tokens


@pytest.mark.parametrize("content", [None, b"", b"ARROW1 and something else"])
def test_a_missing_or_damaged_table_is_named(tmp_path, content):
    if content is not None:
        (tmp_path / "train.arrow").write_bytes(content)
    with pytest.raises(StorageError, match=r"train\.arrow is missing or damaged .* Run the preprocessing again"):
        TokenTable(tmp_path / "train.arrow")
