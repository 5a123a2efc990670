import json
from pathlib import Path

import pytest

from components.core.errors import ConfigError, DataError, StorageError
from components.core.settings import Settings
from components.core.tables import read_rows, write_rows

ROWS = [{"prompt": "Héllo?", "messages": [{"role": "user", "content": "a\n"}]}, {"prompt": "b", "messages": []}]


@pytest.fixture
def settings(tmp_path):
    # nothing listens there: a test that asks the Hub by mistake fails
    return Settings(whetstone_home=tmp_path / "home", hf_endpoint="http://127.0.0.1:9")


def test_what_was_written_under_a_name_is_read_by_it(settings):
    where = write_rows(ROWS, "acme/answers", "batch_infer", settings)
    assert where == str(settings.whetstone_home.resolve() / "datasets" / "acme" / "answers" / "batch_infer.jsonl")
    assert read_rows("acme/answers", "batch_infer", settings) == ROWS


def test_rows_are_put_below_or_in_the_place_of_the_ones_there_and_other_splits_stay(settings, tmp_path):
    folder = str(tmp_path / "data")
    write_rows(ROWS, folder, "test", settings)
    write_rows(ROWS[:1], folder, "train", settings)
    write_rows(ROWS, folder, "train", settings, append=True)
    assert read_rows(folder, "train", settings) == ROWS[:1] + ROWS
    write_rows(ROWS[1:], folder, "train", settings)
    assert read_rows(folder, "train", settings) == ROWS[1:]
    assert read_rows(folder, "test", settings) == ROWS
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["test.jsonl", "train.jsonl"]


def test_columns_are_in_the_order_asked_for(settings, tmp_path):
    file = write_rows([{"b": 1, "a": 2}], str(tmp_path), "test", settings, columns=["a", "b"])
    assert Path(file).read_text() == '{"a": 2, "b": 1}\n'


def test_appended_rows_have_the_columns_of_the_ones_there(settings):
    write_rows(ROWS, "answers", "test", settings)
    with pytest.raises(DataError, match=r"row 1 of the rows that are there lacks score; also has messages"):
        write_rows([{"prompt": "c", "score": 1}], "answers", "test", settings, append=True)
    assert read_rows("answers", "test", settings) == ROWS


def test_rows_of_differing_columns_and_values_that_json_has_not_are_named(settings):
    with pytest.raises(DataError, match=r"answers, split test: .*row 2 of the new rows lacks b"):
        write_rows([{"a": 1, "b": 2}, {"a": 1}], "answers", "test", settings)
    with pytest.raises(DataError, match=r"answers, split test, row 2: cannot be written as JSON"):
        write_rows([{"a": 1}, {"a": {1, 2}}], "answers", "test", settings)
    with pytest.raises(DataError, match="there are no rows to write"):
        write_rows([], "answers", "test", settings)
    assert not list(settings.whetstone_home.rglob("*test*"))


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "parquet"])
def test_every_format_is_read_from_a_folder_and_as_a_file(settings, tmp_path, suffix):
    expected, file = [{"prompt": "a", "kind": "x"}, {"prompt": "b", "kind": "y"}], tmp_path / f"test_sft.{suffix}"
    match suffix:
        case "parquet":
            import pyarrow.parquet

            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(expected), file)
        case "csv":
            file.write_text("prompt,kind\na,x\nb,y\n")
        case "json":
            file.write_text(json.dumps(expected))
        case _:
            file.write_text("".join(f"{json.dumps(row)}\n" for row in expected))
    assert read_rows(str(tmp_path), "test_sft", settings) == expected
    assert read_rows(str(file), "whatever", settings) == expected


def test_a_split_is_not_taken_for_another_that_starts_alike(settings, tmp_path):
    for number, split in enumerate(["infer", "infer_1", "infer.2"]):
        write_rows([{"n": number}], str(tmp_path), split, settings)
    assert read_rows(str(tmp_path), "infer", settings) == [{"n": 0}]
    assert read_rows(str(tmp_path), "infer_1", settings) == [{"n": 1}]


def test_a_bad_row_is_named_by_file_and_row(settings, tmp_path):
    (tmp_path / "test.jsonl").write_text(json.dumps(ROWS[0]) + "\n{'prompt': 'x'}\n")
    with pytest.raises(DataError, match=r"/test.jsonl:2: not valid JSON: single quotes"):
        read_rows(str(tmp_path), "test", settings)


def test_what_is_not_there_is_named_without_the_keys_of_a_recipe(settings, tmp_path):
    write_rows(ROWS, str(tmp_path), "train", settings)
    with pytest.raises(DataError, match="has no split 'test': there is no test.jsonl .*It has train"):
        read_rows(str(tmp_path), "test", settings)
    with pytest.raises(StorageError, match="no such file or folder. Check the dataset's name"):
        read_rows(str(tmp_path / "gone"), "test", settings)
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError, match=r"empty, holds no rows"):
        read_rows(str(tmp_path), "empty", settings)


@pytest.mark.parametrize(
    ("dataset_id", "split", "message"),
    [
        ("a b", "test", "'a b' is no name of a dataset"),
        ("acme/rows", "te/st", "'te/st' is no name of a split"),
        ("rows.jsonl", "test", "rows.jsonl is a file, and rows are saved in a folder"),
        ("https://example.org/x", "test", "is an address"),
    ],
)
def test_impossible_names_are_refused_before_anything_is_written(settings, dataset_id, split, message):
    with pytest.raises(ConfigError, match=message):
        write_rows(ROWS, dataset_id, split, settings)


def test_a_split_in_another_format_is_not_replaced(settings, tmp_path):
    (tmp_path / "train.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"has the split train as train.csv, which is not replaced"):
        write_rows(ROWS, str(tmp_path), "train", settings)


def test_pushing_without_a_token_or_a_repository_is_refused(settings):
    with pytest.raises(ConfigError, match="Set HF_TOKEN"):
        write_rows(ROWS, "acme/answers", "test", settings, push_to_hub=True)
    with pytest.raises(ConfigError, match="Name it user/name"):
        write_rows(ROWS, "answers", "test", settings, push_to_hub=True)
