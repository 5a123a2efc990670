"""From raw rows to three files and a report."""

import json
from pathlib import Path

import pytest
from support.question_files import SPLITS, folder, prepare, row, write, written

from components.core.data import source_version
from components.core.errors import ConfigError, DataError, StorageError
from components.core.recipe import DataConfig
from components.core.settings import Settings


def test_given_splits_are_kept_in_their_order(tmp_path):
    source = folder(tmp_path, train=map(row, range(20)), dev=map(row, range(20, 25)), test=map(row, range(25, 30)))
    report = prepare(source, tmp_path / "out")
    assert report.rows == {"train": 20, "validation": 5, "test": 5}
    assert [each["id"] for each in written(tmp_path / "out", "train")] == [f"r{number}" for number in range(20)]
    info = json.loads((tmp_path / "out" / "dataset_info.json").read_text())
    assert info["fingerprint"] == report.fingerprint
    assert info["source_version"] == "v1"
    assert info["rows"] == report.rows
    assert not list((tmp_path / "out").glob(".spool*"))


def test_the_fingerprint_changes_with_one_character_only(tmp_path):
    rows = [row(number) for number in range(30)]
    prints = []
    for name, question in (("a", rows[0]["question"]), ("b", rows[0]["question"]), ("c", "Why?")):
        source = write(tmp_path / name / "train.jsonl", [rows[0] | {"question": question}, *rows[1:]])
        prints.append(prepare(source, tmp_path / name / "out").fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_missing_splits_are_cut_by_context_and_the_same_way_each_time(tmp_path):
    contexts = [row(1000 + number)["context"] for number in range(50)]
    source = write(tmp_path / "all.jsonl", [row(number, contexts[number % 50]) for number in range(200)])
    report = prepare(source, tmp_path / "out")
    assert report.rows == {"train": 160, "validation": 20, "test": 20}
    homes = {split: {each["context"] for each in written(tmp_path / "out", split)} for split in SPLITS}
    assert not homes["train"] & homes["test"]
    assert not homes["train"] & homes["validation"]
    assert not homes["validation"] & homes["test"]
    assert "shuffled by contexts" in report.splits["test"]
    assert prepare(source, tmp_path / "again").fingerprint == report.fingerprint
    assert prepare(source, tmp_path / "other", seed=1).fingerprint != report.fingerprint


@pytest.mark.parametrize(("given", "missing"), [("test", "validation"), ("validation", "test")])
def test_one_missing_split_gets_a_fifth_of_train(tmp_path, given, missing):
    source = folder(tmp_path, train=map(row, range(50)), **{given: map(row, range(50, 60))})
    report = prepare(source, tmp_path / "out")
    assert report.rows == {"train": 40, missing: 10, given: 10}
    assert "20%" in report.splits[missing]


def test_rows_on_one_context_are_cut_row_by_row_with_a_warning(tmp_path):
    source = write(tmp_path / "all.jsonl", [row(number, "Lima is big.") for number in range(30)])
    report = prepare(source, tmp_path / "out")
    assert report.rows == {"train": 24, "validation": 3, "test": 3}
    assert report.count("split_by_rows") == 1
    assert report.count("shared_context") == 2


def test_too_few_rows_to_cut_are_an_error(tmp_path):
    with pytest.raises(DataError, match="too few rows: 2 cannot be cut into train, validation, test"):
        prepare(write(tmp_path / "all.jsonl", map(row, range(2))), tmp_path / "out")


def test_bad_rows_stop_the_run_after_the_report_is_written(tmp_path):
    rows = [row(number) for number in range(20)]
    rows[3]["context"] = 12
    rows[7]["question"] = " "
    source = write(tmp_path / "all.jsonl", rows)
    with pytest.raises(DataError) as caught:
        prepare(source, tmp_path / "out")
    message = str(caught.value)
    for part in ("2 errors", "all.jsonl:4: context", "all.jsonl:8: question", "on_bad_row=drop", "report.html"):
        assert part in message
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.html", "report.json"]
    assert json.loads((tmp_path / "out" / "report.json").read_text())["ok"] is False


def test_bad_rows_are_left_out_and_counted_on_request(tmp_path):
    rows = [row(number) for number in range(20)]
    rows[3]["context"] = 12
    report = prepare(write(tmp_path / "all.jsonl", rows), tmp_path / "out", on_bad_row="drop")
    assert sum(report.rows.values()) == 19
    assert report.dropped == {"bad row": 1}
    assert report.metrics()["data_wrong_type"] == 1.0


def test_dropping_does_not_excuse_a_file_that_breaks_off(tmp_path):
    write(tmp_path / "all.json", [])
    (tmp_path / "all.json").write_text("[" + ",".join(json.dumps(row(number)) for number in range(20)))
    with pytest.raises(DataError, match="expected ',' after item 20 but the file ends"):
        prepare(tmp_path / "all.json", tmp_path / "out", on_bad_row="drop")


def test_a_split_without_rows_is_named(tmp_path):
    source = folder(tmp_path, train=map(row, range(20)), validation=[])
    with pytest.raises(DataError, match="validation.jsonl: the validation split is empty"):
        prepare(source, tmp_path / "out", on_bad_row="drop")


def test_columns_are_mapped(tmp_path):
    rows = [{"qid": each["id"], "passage": each["context"], "query": each["question"], "answer": "w"} for each in
            map(row, range(20))]  # fmt: skip
    source = write(tmp_path / "all.jsonl", rows)
    suggestion = "data.columns={context: passage, question: query, answers: answer}"
    with pytest.raises(DataError, match=suggestion):
        prepare(source, tmp_path / "out")
    columns = {"id": "qid", "context": "passage", "question": "query", "answers": "answer"}
    prepare(source, tmp_path / "out", columns=columns)
    assert {each["id"] for split in SPLITS for each in written(tmp_path / "out", split)} == {f"r{n}" for n in range(20)}


def test_a_mapping_that_cannot_work_is_an_error(tmp_path):
    source = write(tmp_path / "all.jsonl", map(row, range(20)))
    with pytest.raises(ConfigError, match="topic is no column of the task context_qa"):
        prepare(source, tmp_path / "out", columns={"topic": "title"})
    with pytest.raises(DataError, match="maps from headline, a column that no row has"):
        prepare(source, tmp_path / "out", columns={"title": "headline"})


def test_max_rows_limits_each_split(tmp_path):
    source = write(tmp_path / "all.jsonl", map(row, range(100)))
    report = prepare(source, tmp_path / "out", max_rows=7)
    assert report.rows == {"train": 7, "validation": 7, "test": 7}
    assert "7 of 80 kept (data.max_rows)" in report.splits["train"]


def test_columns_that_differ_between_splits_are_reported(tmp_path):
    titled = [row(number, title="T") for number in range(20)]
    source = folder(tmp_path, train=titled, validation=map(row, range(20, 23)), test=map(row, range(23, 26)))
    report = prepare(source, tmp_path / "out")
    assert [str(e) for f in report.findings if f.kind == "schema_drift" for e in f.examples] == [
        "validation/test: column title is in the other splits only"
    ]


def test_the_report_page_is_complete_in_itself_and_escapes_names(tmp_path):
    rows = [row(number) | {"<script>alert(1)</script>": 1} for number in range(20)]
    prepare(write(tmp_path / "all.jsonl", rows), tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "&lt;script&gt;" in page
    for outside in ("<script", "http://", "https://", "src=", "@import"):
        assert outside not in page
    assert page.count("<svg") == 10  # rows by split; three columns in each of three splits


def test_memory_of_findings_is_bounded_and_their_count_exact(tmp_path):
    rows = [row(number) | {"context": 1} for number in range(300)]
    with pytest.raises(DataError, match="301 errors"):
        prepare(write(tmp_path / "all.jsonl", rows), tmp_path / "out")
    (bad, _) = json.loads((tmp_path / "out" / "report.json").read_text())["findings"]
    assert (bad["count"], len(bad["examples"])) == (300, 5)


def test_a_run_that_was_killed_leaves_nothing_behind(tmp_path):
    (tmp_path / "out" / ".spool-old").mkdir(parents=True)
    (tmp_path / "out" / "test.jsonl").write_text("old")
    with pytest.raises(DataError):
        prepare(write(tmp_path / "all.jsonl", [row(1)]), tmp_path / "out")
    assert not (tmp_path / "out" / ".spool-old").exists()
    assert not (tmp_path / "out" / "test.jsonl").exists()


def test_an_output_folder_that_cannot_be_made_is_a_storage_error(tmp_path):
    source = write(tmp_path / "all.jsonl", map(row, range(20)))
    with pytest.raises(StorageError, match="cannot write to"):
        prepare(source, source / "out")


def test_the_starter_dataset_is_ready(tmp_path):
    report = prepare(Path("starter"), tmp_path / "out")
    assert report.rows["train"] > report.rows["test"] > 0
    assert (report.errors, report.dropped) == (0, {})


def test_source_version_follows_the_content(tmp_path):
    source = folder(tmp_path, train=[row(1)], test=[row(2)])
    data, settings = DataConfig(dataset_id=str(source)), Settings()
    before = source_version(data, settings)
    assert before == source_version(data, settings)
    write(source / "test.jsonl", [row(3)])
    after = source_version(data, settings)
    assert after != before
    (source / "test.jsonl").rename(source / "validation.jsonl")
    assert source_version(data, settings) not in (before, after)


def test_importing_the_data_room_is_cheap():
    import subprocess
    import sys

    heavy = "('torch', 'transformers', 'datasets', 'pandas', 'pyarrow', 'huggingface_hub', 'matplotlib')"
    code = f"import sys, components.core.data; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
