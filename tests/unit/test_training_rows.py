"""Reading packs of tokens."""

import pytest
from support.tiny_training import random_rows, write_rows

from components.core.errors import StorageError
from components.core.training.rows import read_rows


def test_rows_come_out_of_packs_as_they_went_in(tmp_path):
    examples = random_rows(10, seed=0)
    write_rows(tmp_path / "rows.arrow", examples, rows_per_pack=3)
    rows = read_rows(tmp_path / "rows.arrow")
    assert [tuple(part.tolist() for part in rows.row(number)) for number in range(len(rows))] == examples
    assert rows.longest == max(len(ids) for ids, _ in examples)
    assert list(rows.targets) == [sum(label != -100 for label in labels) for _, labels in examples]


def test_a_row_that_teaches_nothing_is_left_out_and_counted(tmp_path):
    kept = ([5, 6, 7], [-100, -100, 7])
    hidden, first_only = ([5, 6], [-100, -100]), ([8, 9], [8, -100])
    write_rows(tmp_path / "rows.arrow", [hidden, kept, first_only], rows_per_pack=3)
    rows = read_rows(tmp_path / "rows.arrow")
    assert (len(rows), rows.left_out) == (1, 2)
    assert rows.row(0)[0].tolist() == [5, 6, 7]


def test_a_label_on_the_first_token_of_a_row_is_not_predicted_by_the_row_before(tmp_path):
    write_rows(tmp_path / "rows.arrow", [([5, 6], [5, 6]), ([7, 8], [7, 8])], rows_per_pack=2)
    assert list(read_rows(tmp_path / "rows.arrow").targets) == [1, 1]


def test_an_empty_file_has_no_rows(tmp_path):
    write_rows(tmp_path / "rows.arrow", [])
    rows = read_rows(tmp_path / "rows.arrow")
    assert (len(rows), rows.longest, rows.largest_id) == (0, 0, -1)


def test_a_missing_file_names_the_remedy(tmp_path):
    with pytest.raises(StorageError, match=r"rows\.arrow is missing or not a file of tokens .*Tokenize again"):
        read_rows(tmp_path / "rows.arrow")


def test_a_file_cut_short_is_refused(tmp_path):
    path = tmp_path / "rows.arrow"
    write_rows(path, random_rows(10, seed=0))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(StorageError, match="not a file of tokens"):
        read_rows(path)


def test_lengths_that_do_not_fit_their_pack_are_refused(tmp_path):
    import pyarrow as pa

    column = pa.list_(pa.int32())
    schema = pa.schema([("input_ids", column), ("labels", column), ("seq_lengths", column)])
    values = [[[1, 2, 3], [4, 5]], [[1, 2, 3], [4, 5]], [[2], [3]]]
    with pa.OSFile(str(tmp_path / "rows.arrow"), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch([pa.array(value, column) for value in values], schema=schema))
    with pytest.raises(StorageError, match="seq_lengths of a pack do not match"):
        read_rows(tmp_path / "rows.arrow")
