"""Validation and test rows in files of their own: `data.validation_file` and `data.test_file`."""

import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from support.question_files import write, written
from support.task_files import prepare_task, task_rows

from components.core.data import source_version
from components.core.errors import DataError, StorageError
from components.core.recipe import DataConfig
from components.core.settings import Settings


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves a folder, and logs nothing."""

    def log_message(self, *_):
        pass


@pytest.fixture
def rows():
    return task_rows("single_label", 100)


def csv_file(path, rows):
    path.write_text("text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in rows), encoding="utf-8")
    return path


def test_each_split_has_its_file_and_format(tmp_path, rows):
    train = write(tmp_path / "a.jsonl", rows[:60])
    validation = csv_file(tmp_path / "b.csv", rows[60:80])
    test = tmp_path / "c.json"
    test.write_text(json.dumps(rows[80:]))
    report = prepare_task("single_label", train, tmp_path / "out", validation_file=str(validation), test_file=str(test))
    assert report.rows == {"train": 60, "validation": 20, "test": 20}
    assert report.files == {"train": ["a.jsonl"], "validation": ["b.csv"], "test": ["c.json"]}
    assert report.splits["validation"] == "as in data.validation_file, in its order"
    assert report.splits["train"] == "as in the dataset, in its order"
    assert written(tmp_path / "out", "validation") == rows[60:80]
    assert written(tmp_path / "out", "test") == rows[80:]


@pytest.mark.parametrize(("given", "missing"), [("validation", "test"), ("test", "validation")])
def test_the_split_that_is_missing_is_a_fifth_of_train(tmp_path, rows, given, missing):
    train, other = write(tmp_path / "a.jsonl", rows[:80]), write(tmp_path / "b.jsonl", rows[80:])
    report = prepare_task("single_label", train, tmp_path / "out", **{f"{given}_file": str(other)})
    assert report.rows == {"train": 64, given: 20, missing: 16}
    assert report.splits[missing].startswith("16 rows (20%) cut from train, shuffled and stratified by label")
    assert report.splits[given] == f"as in data.{given}_file, in its order"


def test_a_file_takes_the_place_of_the_datasets_own_split(tmp_path, rows):
    write(tmp_path / "data" / "train.jsonl", rows[:60])
    write(tmp_path / "data" / "validation.jsonl", rows[60:70])
    other = write(tmp_path / "other.jsonl", rows[70:])
    report = prepare_task("single_label", tmp_path / "data", tmp_path / "out", validation_file=str(other))
    assert written(tmp_path / "out", "validation") == rows[70:]
    assert report.files["validation"] == ["other.jsonl"]


def test_a_finding_names_the_file_that_it_is_in(tmp_path, rows):
    train, other = write(tmp_path / "a.jsonl", rows[:80]), write(tmp_path / "b.jsonl", [*rows[80:], {"text": "x"}])
    with pytest.raises(DataError, match=r"b\.jsonl:21: column label is missing"):
        prepare_task("single_label", train, tmp_path / "out", validation_file=str(other))


def test_files_of_one_name_are_told_apart(tmp_path, rows):
    train = write(tmp_path / "train" / "data.jsonl", rows[:80])
    other = write(tmp_path / "held-out" / "data.jsonl", [{"text": "x"}])
    with pytest.raises(DataError, match=r"held-out/data\.jsonl:1: column label is missing"):
        prepare_task("single_label", train, tmp_path / "out", validation_file=str(other))


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("none.jsonl", StorageError, r"none\.jsonl: no such file or folder\. Check data\.validation_file"),
        ("", StorageError, r"it is a folder\. Name one file in data\.validation_file"),
        ("rows.xlsx", DataError, r"rows\.xlsx: unknown format"),
        ("rows.tar", DataError, "is an archive"),
        ("empty.jsonl", DataError, "the validation split is empty: there are no rows"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_by_its_key(tmp_path, rows, name, error, message):
    for made in ("rows.xlsx", "rows.tar", "empty.jsonl"):
        (tmp_path / made).write_bytes(b"")
    train = write(tmp_path / "a.jsonl", rows)
    with pytest.raises(error, match=message):
        prepare_task("single_label", train, tmp_path / "out", validation_file=str(tmp_path / name))


def test_another_kind_of_address_is_refused(tmp_path, rows):
    train = write(tmp_path / "a.jsonl", rows)
    with pytest.raises(DataError, match=r"s3:// addresses are not supported as data\.test_file; use a path or an http"):
        prepare_task("single_label", train, tmp_path / "out", test_file="s3://bucket/rows.jsonl")


def test_the_version_changes_with_each_file(tmp_path, rows):
    train, other = write(tmp_path / "a.jsonl", rows[:80]), write(tmp_path / "b.jsonl", rows[80:])
    data = DataConfig(dataset_id=str(train), validation_file=str(other))
    alone = source_version(DataConfig(dataset_id=str(train)), Settings())
    first = source_version(data, Settings())
    write(other, rows[70:])
    assert len({alone, first, source_version(data, Settings())}) == 3
    assert first.startswith(f"{alone} validation=sha256:")


def test_a_file_behind_an_address_is_downloaded(tmp_path, rows):
    handler = partial(QuietHandler, directory=str(tmp_path / "held-out"))
    train = write(tmp_path / "data.jsonl", rows[:80])
    write(tmp_path / "held-out" / "data.jsonl", rows[80:])
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/data.jsonl"
        report = prepare_task("single_label", train, tmp_path / "out", test_file=f"{address}?key=secret")
        server.shutdown()
    assert written(tmp_path / "out", "test") == rows[80:]
    assert report.files["test"] == [address]
