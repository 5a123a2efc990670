"""What is checked, counted and written down over all labels and scores of a dataset."""

import json

import pytest
from support.question_files import folder, write, written
from support.task_files import COLOURS, entity_row, label_row, labels_row, prepare_task, score_row, task_rows

from components.core.errors import ConfigError, DataError


def info(output_dir):
    return json.loads((output_dir / "dataset_info.json").read_text())


def examples(report, kind):
    return [str(example) for finding in report.findings if finding.kind == kind for example in finding.examples]


def test_the_label_map_is_sorted_and_covers_all_splits(tmp_path):
    train = [label_row(n, COLOURS[n % 4]) for n in range(40)]
    test = [label_row(100 + n, "amber" if n == 0 else "red") for n in range(4)]
    report = prepare_task("single_label", folder(tmp_path, train=train, test=test), tmp_path / "out")
    assert info(tmp_path / "out")["labels"] == ["amber", "black", "blue", "green", "red"]
    assert examples(report, "label_not_in_train") == [
        "test.jsonl:1: label `amber` of test is in no training row; the model cannot learn it"
    ]
    assert report.targets.labels["amber"] == {"train": 0, "validation": 0, "test": 1}


def test_whole_numbers_are_numbered_by_value(tmp_path):
    rows = [label_row(n, n % 12) for n in range(120)]
    prepare_task("single_label", write(tmp_path / "all.jsonl", rows), tmp_path / "out")
    assert info(tmp_path / "out")["labels"] == [str(number) for number in range(12)]


def test_true_and_false_are_labels(tmp_path):
    rows = [label_row(n, n % 2 == 0) for n in range(40)]
    prepare_task("single_label", write(tmp_path / "all.jsonl", rows), tmp_path / "out")
    assert info(tmp_path / "out")["labels"] == ["false", "true"]


def test_the_map_of_entities_holds_types_and_tags(tmp_path):
    prepare_task("ner", write(tmp_path / "all.jsonl", task_rows("ner")), tmp_path / "out")
    written_info = info(tmp_path / "out")
    assert written_info["entity_types"] == ["LOC", "PER"]
    assert written_info["labels"] == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]


def test_the_scale_of_the_scores_is_that_of_train(tmp_path):
    splits = {"train": [1, 2, 3, 6], "validation": [50], "test": [60]}
    rows = {split: [score_row(100 * len(split) + n, n) for n in numbers] for split, numbers in splits.items()}
    report = prepare_task("regression", folder(tmp_path, **rows), tmp_path / "out")
    target = info(tmp_path / "out")["target"]
    assert target == {"mean": 3.0, "std": pytest.approx(3.5**0.5), "minimum": 1.0, "maximum": 6.0}
    assert report.targets.scores["validation"].mean == 50


def test_labels_of_other_names_in_a_held_out_split_are_refused(tmp_path):
    test = [label_row(100 + n, n % 2) for n in range(4)]
    source = folder(tmp_path, train=[label_row(n, "ab"[n % 2]) for n in range(40)], test=test)
    with pytest.raises(DataError, match="test: 4 of 4 rows have a label that training never shows; train has `a`, `b`"):
        prepare_task("single_label", source, tmp_path / "out")


def test_a_sample_of_many_classes_is_no_mistake(tmp_path):
    train, test = ([label_row(base + n, f"class{n % 40}") for n in range(200)] for base in (0, 1000))
    source = folder(tmp_path, train=train, test=test)
    report = prepare_task("single_label", source, tmp_path / "out", max_rows=8)
    assert report.rows == {"train": 8, "validation": 8, "test": 8}
    assert report.count("label_not_in_train") > 4


def test_spellings_that_look_like_one_label_are_remarked_and_kept_apart(tmp_path):
    labels = ["Card lost", "card_lost", "other", "1", "1.0"]
    rows = [label_row(n, labels[n % 5]) for n in range(50)]
    report = prepare_task("single_label", write(tmp_path / "all.jsonl", rows), tmp_path / "out")
    assert sorted(examples(report, "label_spellings")) == [
        "all splits: `1`, `1.0` look like one label; they are kept apart",
        "all splits: `Card lost`, `card_lost` look like one label; they are kept apart",
    ]


def test_text_beside_numbers_is_one_label_with_a_warning(tmp_path):
    rows = [label_row(n, [1, "1", 2.0, "2"][n % 4]) for n in range(40)]
    report = prepare_task("single_label", write(tmp_path / "all.jsonl", rows), tmp_path / "out")
    assert list(report.targets.labels) == ["1", "2"]
    assert (report.count("mixed_label_types"), report.count("float_label")) == (1, 1)


def test_true_beside_numbers_is_refused_because_nothing_says_what_it_means(tmp_path):
    rows = [label_row(n, [True, 1][n % 2]) for n in range(40)]
    source = write(tmp_path / "all.jsonl", rows)
    with pytest.raises(DataError, match="true/false beside text or numbers"):
        prepare_task("single_label", source, tmp_path / "out", on_bad_row="drop")


def test_a_column_of_texts_is_no_label(tmp_path):
    source = write(tmp_path / "all.jsonl", [label_row(n, f"text {n}") for n in range(40)])
    with pytest.raises(DataError, match="none of 32 labels has two training rows; is data.columns.label"):
        prepare_task("single_label", source, tmp_path / "out")


@pytest.mark.parametrize(
    ("task", "row", "message"),
    [
        ("multi_label", labels_row, "no training row has a label"),
        ("ner", entity_row, r"no training row has an entity \(all tags are O\)"),
        ("regression", lambda n: score_row(n, 4), "all training rows have the score 4"),
    ],
)
def test_rows_that_teach_nothing_are_refused(tmp_path, task, row, message):
    with pytest.raises(DataError, match=message):
        prepare_task(task, write(tmp_path / "all.jsonl", map(row, range(30))), tmp_path / "out")


def test_rows_without_labels_are_counted(tmp_path):
    rows = [labels_row(n, *(["joy"] if n % 2 else [])) for n in range(40)]
    report = prepare_task("multi_label", write(tmp_path / "all.jsonl", rows), tmp_path / "out")
    assert report.targets.unlabelled == {"train": 16, "validation": 2, "test": 2}


def test_a_score_far_from_the_others_is_remarked(tmp_path):
    rows = [score_row(n, 999 if n == 7 else n % 6) for n in range(60)]
    report = prepare_task("regression", write(tmp_path / "all.jsonl", rows), tmp_path / "out")
    assert examples(report, "score_outlier") == [
        "all.jsonl:8: score: 999 is far from the others (half of train lies between 1 and 4)"
    ]


def test_numbers_as_text_are_remarked_once_a_file_and_not_in_csv(tmp_path):
    rows = [score_row(n, str(n)) for n in range(40)]
    report = prepare_task("regression", write(tmp_path / "all.jsonl", rows), tmp_path / "out")
    assert examples(report, "score_as_text") == ["train: score: 40 rows write the number as text"]
    lines = "".join(f"{row['text']},{row['score']}\n" for row in rows)
    (tmp_path / "all.csv").write_text("text,score\n" + lines)
    assert prepare_task("regression", tmp_path / "all.csv", tmp_path / "out").warnings == 0


def test_bad_rows_are_named_or_left_out(tmp_path):
    rows = [label_row(n, COLOURS[n % 4]) for n in range(40)]
    rows[3]["label"], rows[8]["text"] = None, " "
    source = write(tmp_path / "all.jsonl", rows)
    with pytest.raises(DataError, match="2 errors: all.jsonl:9: text: is empty; all.jsonl:4: label: expected a label"):
        prepare_task("single_label", source, tmp_path / "out")
    report = prepare_task("single_label", source, tmp_path / "out", on_bad_row="drop")
    assert (sum(report.rows.values()), report.dropped) == (38, {"bad row": 2})


def test_one_text_with_two_labels_is_a_conflict_and_a_leak_is_dropped(tmp_path):
    train = [label_row(n, "ab"[n % 2]) for n in range(40)]
    train += [train[0] | {"label": "b"}, train[1]]
    test = [label_row(n, "a") for n in (2, 50, 51)]
    report = prepare_task("single_label", folder(tmp_path, train=train, test=test), tmp_path / "out", seed=1)
    assert examples(report, "conflicting_answers")[0].startswith("train.jsonl:41: asks the same as row 1")
    assert examples(report, "duplicate_row")[0].startswith("train.jsonl:42:")
    assert report.count("leakage_exact") == 1
    assert report.dropped == {"leakage (train)": 1}


def test_two_texts_of_symbols_are_no_near_copies(tmp_path):
    train = [label_row(n, "ab"[n % 2]) for n in range(20)] + [{"text": "\U0001f600", "label": "a"}]
    test = [label_row(30, "a"), {"text": "\U0001f622 !!!", "label": "b"}]
    report = prepare_task("single_label", folder(tmp_path, train=train, test=test), tmp_path / "out")
    assert report.count("leakage_near") == 0


def test_rows_without_an_id_get_none_and_never_repeat_one(tmp_path):
    rows = [label_row(0, "a", id="1"), *(label_row(n, "ab"[n % 2]) for n in range(1, 20))]
    report = prepare_task("single_label", write(tmp_path / "all.jsonl", rows), tmp_path / "out")
    kept = [row for split in ("train", "validation", "test") for row in written(tmp_path / "out", split)]
    assert [row["id"] for row in kept if "id" in row] == ["1"]
    assert report.errors == 0


def test_a_pair_in_some_rows_only_is_remarked(tmp_path):
    rows = [label_row(n, "ab"[n % 2]) | ({"text_pair": "x"} if n < 5 else {}) for n in range(40)]
    report = prepare_task("single_label", write(tmp_path / "all.jsonl", rows), tmp_path / "out")
    assert examples(report, "pair_missing") == ["train: 35 of 40 rows have no text_pair; they are read as single texts"]


def test_the_columns_of_a_pair_are_suggested_together(tmp_path):
    rows = [{"sentence1": f"a{n}", "sentence2": "b", "similarity": n} for n in range(10)]
    source = write(tmp_path / "all.jsonl", rows)
    suggestion = "data.columns={text: sentence1, score: similarity, text_pair: sentence2}"
    with pytest.raises(DataError, match=suggestion):
        prepare_task("regression", source, tmp_path / "out")
    columns = {"text": "sentence1", "score": "similarity", "text_pair": "sentence2"}
    prepare_task("regression", source, tmp_path / "out", columns=columns)
    assert set(written(tmp_path / "out", "test")[0]) == {"text", "text_pair", "score"}


def test_a_column_of_another_task_is_refused(tmp_path):
    source = write(tmp_path / "all.jsonl", task_rows("ner"))
    with pytest.raises(ConfigError, match="text is no column of the task ner; it has tokens, ner_tags, id"):
        prepare_task("ner", source, tmp_path / "out", columns={"text": "tokens"})


@pytest.mark.parametrize(
    ("task", "title", "charts"),
    [("single_label", "Labels", 4), ("multi_label", "Labels", 4), ("regression", "Scores", 7), ("ner", "Entities", 4)],
)
def test_the_page_shows_what_is_learned(tmp_path, task, title, charts):
    prepare_task(task, write(tmp_path / "all.jsonl", task_rows(task)), tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"<h2>{title}</h2>" in page
    assert page.count("<svg") == charts


def test_the_page_escapes_labels(tmp_path):
    rows = [label_row(n, ["<script>alert(1)</script>", "b"][n % 2]) for n in range(40)]
    prepare_task("single_label", write(tmp_path / "all.jsonl", rows), tmp_path / "out")
    assert "<script" not in (tmp_path / "out" / "report.html").read_text()
