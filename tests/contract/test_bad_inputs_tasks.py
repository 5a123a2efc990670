"""Broken inputs of the classification, regression and entity tasks: refused by name, or accepted and counted.

The first half makes its own files; the second runs over a published collection of broken inputs where it is at hand.
"""

from pathlib import Path

import pytest
from support.bad_inputs import REFUSED_BY_ALL, published_cases, unpack
from support.question_files import write
from support.task_files import prepare_task, task_rows, text
from support.tiny_encoder import preprocess_rows, write_encoder

from components.core.errors import PlatformError
from components.core.heads.tokens import TokenTable

TASKS = {"classification": "single_label", "multi-label": "multi_label", "regression": "regression", "ner": "ner"}
PAIR = {"sentence1_key": "sentence1", "sentence2_key": "sentence2"}
REFUSED = {
    # part of the message; a case that is not listed must be accepted
    "cls_latin1.jsonl": r":1: not UTF-8 at byte 12 of the line",
    "xlsx_renamed.csv": "looks like a zip or xlsx file",
    "reg_1e400.jsonl": ":1: the number 1e400 is not finite",
    "cls_csv_unclosed_quote.csv": ":2: a quote opens in this row and is never closed",
    "cls_csv_no_header.csv": r":1: column text, label is missing; expected text, label, found .*add a header",
    "ml_onehot_wrong_width.jsonl": r"(?=.*:1: labels: looks like a multi-hot vector of width 3)(?=.*:2: .* width 2)",
    "reg_identical_pair_columns.jsonl": "maps from sentence2, a column that no row has",
    "ner_conll_mixed_separators.conll": r"unknown format; supported are \.jsonl",
    "cls_truncated.jsonl.gz": "the compressed file is incomplete",
    "empty_validation/train.jsonl": "the validation split is empty: there are no rows",
    "split_schema_drift/train.jsonl": r"validation.jsonl:1: column text is missing.*found sentence, label\. Try ",
    "one_row.jsonl": "too few rows: 1 cannot be cut into train, validation, test",
}
REMARKED = {
    # findings of an accepted case, with their counts; bad rows are left out (data.on_bad_row=drop)
    "duplicate_keys.jsonl": {"duplicate_key": 1},
    "cls_float_labels.jsonl": {"float_label": 1},
    "cls_label_case_space.jsonl": {"label_spellings": 1, "label_trimmed": 2},
    "cls_class_with_one_example.jsonl": {"one_example_label": 1},
    "cls_empty_text.jsonl": {"empty_text": 2},
    "cls_tsv_named_csv.csv": {"tabs_in_csv": 1},
    "cls_na_strings.csv": {},
    "ml_empty_and_duplicate_labels.jsonl": {"wrong_type": 2, "duplicate_label": 1, "label_trimmed": 1},
    "reg_out_of_range.jsonl": {"score_outlier": 1, "wrong_type": 1, "missing_field": 1},
    "ner_orphan_inside.jsonl": {"inside_without_begin": 2},
    "ner_empty_and_space_tokens.jsonl": {"no_tokens": 1, "blank_token": 2},
    "-rf.jsonl": {},
}


def test_hostile_lists_are_data_and_never_run(tmp_path):
    mark = tmp_path / "mark"
    hostile = f"[__import__('pathlib').Path({str(mark)!r}).touch()]"
    rows = task_rows("multi_label")
    rows[4]["labels"] = hostile
    with pytest.raises(PlatformError, match="all.jsonl:5: labels: expected a list of labels, found other text"):
        prepare_task("multi_label", write(tmp_path / "all.jsonl", rows), tmp_path / "out")
    assert not mark.exists()


@pytest.mark.parametrize("label", ["{question}", "<|im_end|>", "{{ 7 * 7 }}", "%s", "../../etc/passwd", "=1+1"])
def test_labels_that_look_like_code_are_plain_names(tmp_path, label):
    rows = [{"text": text(number), "label": ["plain", label][number % 2]} for number in range(40)]
    report = prepare_task("single_label", write(tmp_path / "all.jsonl", rows), tmp_path / "out")
    assert sorted(report.targets.labels) == sorted(["plain", label])


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The collection on disk."""
    return unpack(tmp_path_factory.mktemp("bad_inputs"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A tiny base model."""
    return write_encoder(tmp_path_factory.mktemp("encoder"))


def absent(cases):
    return cases or [pytest.param(None, marks=pytest.mark.skip(reason="the collection of broken inputs is not here"))]


def name_of(value):
    return value["file"] if isinstance(value, dict) else value or "absent"


@pytest.mark.parametrize("task", list(TASKS.values()))
@pytest.mark.parametrize("case", absent(published_cases(("any",))), ids=name_of)
def test_published_input_of_any_task(unpacked, encoder, tmp_path, case, task):
    assert case["outcome"] == "reject"
    with pytest.raises(PlatformError, match=REFUSED_BY_ALL[case["file"]]):
        preprocess_rows(task, unpacked / case["file"], encoder, tmp_path / "out")
    assert not (tmp_path / "out" / "preprocess_args.json").exists()


@pytest.mark.parametrize("case", absent(published_cases(TASKS)), ids=name_of)
def test_published_input(unpacked, encoder, tmp_path, case):
    name, task = case["file"], TASKS[case["task"]]
    keys = PAIR if task == "regression" else {}
    if name in REFUSED:
        assert case["outcome"] == "reject"
        source = unpacked / name if "/" not in name else (unpacked / name).parent
        with pytest.raises(PlatformError, match=REFUSED[name]):
            preprocess_rows(task, source, encoder, tmp_path / "out", **keys)
        assert not (tmp_path / "out" / "preprocess_args.json").exists()
        return
    assert case["outcome"] != "reject"
    # one of two training files, beside good rows: most hold too few rows to be cut
    good = task_rows(task)
    if task == "regression":
        good = [{"sentence1": row["text"], "sentence2": "b", "score": row["score"]} for row in good]
    folder = tmp_path / "data"
    for split, rows in {"train-00001-of-00002": good[:40], "validation": good[40:50], "test": good[50:]}.items():
        write(folder / f"{split}.jsonl", rows)
    suffix = Path(name).suffix
    (folder / f"train-00000-of-00002{suffix}").write_bytes((unpacked / name).read_bytes())
    if suffix == ".csv":  # the files of a split have one format
        lines = [f"{row['text']},{row['label']}\n" for row in good[:40]]
        (folder / "train-00001-of-00002.jsonl").unlink()
        (folder / "train-00001-of-00002.csv").write_text("text,label\n" + "".join(lines), encoding="utf-8")
    report = preprocess_rows(task, folder, encoder, tmp_path / "out", {"on_bad_row": "drop"}, **keys)
    found = {finding.kind: finding.count for finding in report.data.findings}
    assert found.items() >= REMARKED[name].items(), found
    read, dropped = report.data.rows_read["train"], report.data.dropped.get("bad row", 0)
    assert report.data.rows["train"] == read - dropped
    assert report.args.splits["train"]["rows"] == read - dropped
    assert len(TokenTable(tmp_path / "out" / "train.arrow")) == report.args.splits["train"]["inputs"]
