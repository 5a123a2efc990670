"""Cuts that keep the proportions of labels, entity types and scores."""

from collections import Counter

import pytest
from support.question_files import SPLITS, folder, write, written
from support.task_files import COLOURS, entity_row, label_row, labels_row, prepare_task, score_row, text

from components.core.errors import DataError


def label_counts(output_dir, split):
    return Counter(row["label"] for row in written(output_dir, split))


def test_a_file_sorted_by_label_is_cut_in_proportion(tmp_path):
    rows = [label_row(number, "rare" if number >= 160 else "common") for number in range(200)]
    report = prepare_task("single_label", write(tmp_path / "all.jsonl", rows), tmp_path / "out")
    assert report.rows == {"train": 160, "validation": 20, "test": 20}
    for split, rare in (("train", 32), ("validation", 4), ("test", 4)):
        assert label_counts(tmp_path / "out", split)["rare"] == rare
    assert [row["label"] for row in written(tmp_path / "out", "train")] != ["common"] * 128 + ["rare"] * 32
    assert "shuffled and stratified by label" in report.splits["validation"]


@pytest.mark.parametrize(("given", "missing"), [("test", "validation"), ("validation", "test")])
def test_one_missing_split_gets_a_stratified_fifth_of_train(tmp_path, given, missing):
    rows = [label_row(number, COLOURS[number // 25]) for number in range(100)]
    more = [label_row(number, COLOURS[number % 4]) for number in range(100, 108)]
    report = prepare_task("single_label", folder(tmp_path, train=rows, **{given: more}), tmp_path / "out")
    assert report.rows == {"train": 80, missing: 20, given: 8}
    assert label_counts(tmp_path / "out", missing) == dict.fromkeys(COLOURS, 5)


def test_a_hundred_and_fifty_classes_stand_in_every_split(tmp_path):
    rows = [label_row(number, f"class{number // 20:03}") for number in range(3000)]
    report = prepare_task("single_label", write(tmp_path / "all.jsonl", rows), tmp_path / "out")
    assert report.rows == {"train": 2400, "validation": 300, "test": 300}
    for split in ("validation", "test"):
        assert set(label_counts(tmp_path / "out", split).values()) == {2}


def test_classes_with_one_example_go_to_train_and_the_sums_still_come_out(tmp_path):
    rows = [label_row(n, f"only{n}") for n in range(40)] + [label_row(40 + n, "ab"[n % 2]) for n in range(160)]
    report = prepare_task("single_label", write(tmp_path / "all.jsonl", rows), tmp_path / "out")
    assert report.rows == {"train": 160, "validation": 20, "test": 20}
    assert sum(label.startswith("only") for label in label_counts(tmp_path / "out", "train")) == 40
    assert report.count("one_example_label") == 40


def test_a_small_class_does_not_pay_for_the_one_example_classes_before_it(tmp_path):
    rows = [label_row(n, f"only{n}") for n in range(60)] + [label_row(60 + n, "small") for n in range(5)]
    rows += [label_row(100 + n, "large") for n in range(100)]
    prepare_task("single_label", write(tmp_path / "all.jsonl", rows), tmp_path / "out")
    assert label_counts(tmp_path / "out", "train")["small"] >= 3


def test_the_same_seed_gives_the_same_cut(tmp_path):
    source = write(tmp_path / "all.jsonl", [label_row(number, COLOURS[number % 4]) for number in range(100)])
    prints = [prepare_task("single_label", source, tmp_path / f"{n}", seed=n // 2).fingerprint for n in range(3)]
    assert prints[0] == prints[1] != prints[2]


def test_rows_with_the_same_text_stay_in_one_split(tmp_path):
    rows = [{"text": text(number // 5), "label": "ab"[number // 5 % 2]} for number in range(300)]
    report = prepare_task("single_label", write(tmp_path / "all.jsonl", rows), tmp_path / "out")
    homes = [{row["text"] for row in written(tmp_path / "out", split)} for split in SPLITS]
    assert not homes[0] & homes[1] | homes[0] & homes[2] | homes[1] & homes[2]
    assert report.rows["test"] == 30


def test_rows_of_several_labels_are_cut_by_their_rarest(tmp_path):
    rows = [labels_row(n, *(["common"] if n % 2 else []), *(["rare"] if n % 10 == 0 else [])) for n in range(200)]
    report = prepare_task("multi_label", write(tmp_path / "all.jsonl", rows), tmp_path / "out")
    assert report.targets.labels["rare"] == {"train": 16, "validation": 2, "test": 2}
    assert report.targets.labels["common"] == {"train": 80, "validation": 10, "test": 10}
    assert report.targets.totals == report.rows
    assert report.targets.unlabelled == {"train": 64, "validation": 8, "test": 8}


def test_every_label_of_a_list_stays_in_train(tmp_path):
    # `b` is never the rarest label of its row, so no stratum keeps a row of it
    rows = [labels_row(n, "b", f"pair{n // 2}") for n in range(6)] + [labels_row(n, "c") for n in range(6, 60)]
    for seed in range(5):
        report = prepare_task("multi_label", write(tmp_path / "all.jsonl", rows), tmp_path / "out", seed=seed)
        assert all(counts["train"] for counts in report.targets.labels.values())
        assert report.count("label_not_in_train") == 0


def test_entities_are_cut_by_each_rows_rarest_type(tmp_path):
    rows = [entity_row(n, *(["LOC"] if n % 2 else []), *(["RARE"] if n % 10 == 0 else [])) for n in range(100)]
    report = prepare_task("ner", write(tmp_path / "all.jsonl", rows), tmp_path / "out")
    assert report.targets.labels["RARE"] == {"train": 8, "validation": 1, "test": 1}
    assert report.targets.unit == "entities"


def test_scores_are_cut_by_quantiles(tmp_path):
    rows = [score_row(number, number**2) for number in range(200)]
    report = prepare_task("regression", write(tmp_path / "all.jsonl", rows), tmp_path / "out")
    for split in ("validation", "test"):
        bins = Counter(int(row["score"] ** 0.5) // 20 for row in written(tmp_path / "out", split))
        assert bins == dict.fromkeys(range(10), 2)
    assert "10 quantile bins" in report.splits["test"]


def test_equal_scores_do_not_break_the_bins(tmp_path):
    rows = [score_row(number, number % 2) for number in range(100)]
    report = prepare_task("regression", write(tmp_path / "all.jsonl", rows), tmp_path / "out")
    assert report.rows == {"train": 80, "validation": 10, "test": 10}


def test_too_few_rows_to_stratify_are_shuffled_and_the_report_says_so(tmp_path):
    rows = [label_row(0, "a"), label_row(1, "b"), label_row(2, "c"), label_row(3, "d"), label_row(4, "e")]
    report = prepare_task("single_label", write(tmp_path / "all.jsonl", rows), tmp_path / "out")
    assert report.rows == {"train": 3, "validation": 1, "test": 1}
    assert "too few rows to stratify" in report.splits["test"]


def test_a_file_with_one_class_is_refused(tmp_path):
    source = write(tmp_path / "all.jsonl", [label_row(number, "spam") for number in range(30)])
    with pytest.raises(DataError, match="all training rows have one label, `spam`; a classifier needs at least two"):
        prepare_task("single_label", source, tmp_path / "out")
