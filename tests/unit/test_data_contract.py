"""What is found by looking at all rows together: repeats, leaks, secrets."""

import pytest
from support.question_files import folder, prepare, row, write, written

from components.core.errors import DataError


def test_the_same_id_twice_is_an_error_also_as_number_and_text(tmp_path):
    rows = [row(number) for number in range(20)]
    rows[0]["id"], rows[5]["id"] = 7, "7"
    source = write(tmp_path / "all.jsonl", rows)
    with pytest.raises(DataError, match="all.jsonl:6: the id is also that of row 1"):
        prepare(source, tmp_path / "out")
    report = prepare(source, tmp_path / "out", on_bad_row="drop")
    assert report.dropped == {"duplicate id": 1}


def test_equal_rows_without_ids_get_ids_of_their_own(tmp_path):
    rows = [{name: value for name, value in row(number % 18).items() if name != "id"} for number in range(20)]
    source = folder(tmp_path, train=rows, validation=map(row, range(20, 23)), test=map(row, range(23, 26)))
    report = prepare(source, tmp_path / "out")
    ids = [each["id"] for each in written(tmp_path / "out", "train")]
    assert len(set(ids)) == 20
    assert ids[18] == f"{ids[0]}-2"
    assert report.count("duplicate_row") == 2


def test_duplicates_and_conflicts_are_told_apart(tmp_path):
    rows = [row(number) for number in range(20)]
    rows[4] = rows[1] | {"id": "copy"}
    rows[5] = rows[1] | {"id": "conflict", "answers": ["something else"]}
    report = prepare(write(tmp_path / "all.jsonl", rows), tmp_path / "out")
    kinds = {finding.kind: finding for finding in report.findings}
    assert [(e.row, e.message) for e in kinds["duplicate_row"].examples] == [(5, "asks and answers the same as row 2")]
    assert [e.row for e in kinds["conflicting_answers"].examples] == [6]


@pytest.fixture
def leaky(tmp_path):
    train = [row(number) for number in range(20)]
    near = row(3)
    near["context"] = near["context"] + " and more"
    far = row(4) | {"question": "A wholly different question about this?"}
    held_out = [row(2) | {"id": "exact"}, near | {"id": "near"}, far | {"id": "far"}]
    return folder(tmp_path, train=train, validation=map(row, range(30, 33)), test=held_out)


def test_leaking_training_rows_are_dropped(tmp_path, leaky):
    report = prepare(leaky, tmp_path / "out", near_duplicate_similarity=0.8)
    assert report.dropped == {"leakage (train)": 2}
    kept = {each["id"] for each in written(tmp_path / "out", "train")}
    assert {f"r{number}" for number in range(20)} - kept == {"r2", "r3"}
    assert (report.count("leakage_exact"), report.count("leakage_near"), report.rows["test"]) == (1, 1, 3)


def test_leakage_warns_or_stops_on_request(tmp_path, leaky):
    report = prepare(leaky, tmp_path / "out", near_duplicate_similarity=0.8, on_leakage="warn")
    assert report.rows["train"] == 20
    with pytest.raises(DataError, match="train.jsonl:3: asks the same as a row of test"):
        prepare(leaky, tmp_path / "out", on_leakage="stop", on_bad_row="drop")


def test_training_rows_that_all_leak_leave_nothing_to_train_on(tmp_path):
    rows = [row(number) for number in range(5)]
    source = folder(tmp_path, train=rows, validation=rows, test=rows)
    with pytest.raises(DataError, match="every training row leaks"):
        prepare(source, tmp_path / "out")


def test_secrets_are_counted_and_never_repeated(tmp_path):
    secret = "hf_" + "aB3" * 12
    rows = [row(number) for number in range(20)]
    rows[2]["context"] += f"\n{secret}"
    rows[6]["question"] += " jane.doe@example.org or a@b.example.com"
    report = prepare(write(tmp_path / "all.jsonl", rows), tmp_path / "out")
    assert (report.count("secret"), report.count("email")) == (1, 1)
    pages = (tmp_path / "out" / "report.json").read_text() + (tmp_path / "out" / "report.html").read_text()
    assert "a Hugging Face token" in pages
    assert secret not in pages
    assert "jane.doe" not in pages
