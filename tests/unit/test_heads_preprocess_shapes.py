"""Datasets of awkward shapes through the whole preprocess: they work, or are refused clearly."""

import json
import random
from collections import Counter

import pytest
from support.question_files import SPLITS, write, written
from support.task_files import entity_row, label_row, labels_row, score_row, task_rows, text
from support.tiny_encoder import preprocess_rows, write_encoder

from components.core.errors import DataError
from components.core.heads.tokens import TokenTable
from components.core.tasks.heads import read_head


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return write_encoder(tmp_path_factory.mktemp("encoder"))


def labels_by_split(folder):
    return {split: Counter(row["label"] for row in written(folder, split)) for split in SPLITS}


def learned(folder, split="train"):
    table = TokenTable(folder / f"{split}.arrow")
    return [table[place]["labels"] for place in range(len(table))]


def test_a_file_sorted_by_label_has_every_label_in_every_split(encoder, tmp_path):
    rows = [label_row(n, "abcd"[n // 50]) for n in range(200)]
    report = preprocess_rows("single_label", rows, encoder, tmp_path / "out")
    found = labels_by_split(tmp_path / "out")
    assert found["train"] == dict.fromkeys("abcd", 40)
    assert found["validation"] == found["test"] == dict.fromkeys("abcd", 5)
    assert learned(tmp_path / "out") != sorted(learned(tmp_path / "out"))
    assert "stratified by label" in report.data.splits["validation"]


@pytest.mark.parametrize(
    ("task", "rows", "message"),
    [
        (
            "single_label",
            [label_row(n) for n in range(40)],
            "all training rows have one label, `a`; a classifier needs",
        ),
        ("multi_label", [labels_row(n) for n in range(40)], "no training row has a label; there is nothing to learn"),
        (
            "regression",
            [score_row(n, 2.5) for n in range(40)],
            "all training rows have the score 2.5; there is nothing",
        ),
        (
            "ner",
            [entity_row(n) for n in range(40)],
            r"no training row has an entity \(all tags are O\); there is nothing",
        ),
    ],
)
def test_rows_that_teach_nothing_are_refused(encoder, tmp_path, task, rows, message):
    with pytest.raises(DataError, match=message):
        preprocess_rows(task, rows, encoder, tmp_path / "out")


def test_a_class_with_one_example_is_learned_from_it(encoder, tmp_path):
    rows = [*(label_row(n, "ab"[n % 2]) for n in range(60)), label_row(60, "rare")]
    report = preprocess_rows("single_label", rows, encoder, tmp_path / "out")
    assert labels_by_split(tmp_path / "out")["train"]["rare"] == 1
    assert report.args.label_map == {"a": 0, "b": 1, "rare": 2}
    assert learned(tmp_path / "out").count(2) == 1
    assert report.data.count("one_example_label") == 1


def test_150_classes_are_all_learned_and_numbered_by_value(encoder, tmp_path):
    rows = [label_row(n, n % 150) for n in range(1500)]
    report = preprocess_rows("single_label", rows, encoder, tmp_path / "out")
    assert report.args.label_map == {str(number): number for number in range(150)}
    assert Counter(learned(tmp_path / "out")) == dict.fromkeys(range(150), 8)


def test_150_labels_at_once_are_all_learned(encoder, tmp_path):
    draw = random.Random(0)
    names = [f"label {number:03}" for number in range(150)]
    rows = [labels_row(n, *draw.sample(names, 5)) for n in range(400)]
    preprocess_rows("multi_label", rows, encoder, tmp_path / "out")
    found = learned(tmp_path / "out")
    assert {len(each) for each in found} == {150}
    assert {sum(each) for each in found} == {5.0}


def test_rows_without_a_label_are_learned_as_no_label(encoder, tmp_path):
    rows = [labels_row(n, *("a", "b")[: n % 3]) for n in range(60)]
    preprocess_rows("multi_label", rows, encoder, tmp_path / "out")
    assert read_head(tmp_path / "out").labels == ["a", "b"]
    expected = [
        [float("a" in row["labels"]), float("b" in row["labels"])] for row in written(tmp_path / "out", "train")
    ]
    assert learned(tmp_path / "out") == expected
    assert [0.0, 0.0] in expected


@pytest.mark.parametrize("kind", [bool, int])
def test_labels_may_be_true_false_or_numbers(encoder, tmp_path, kind):
    rows = [label_row(n, kind(n % 2)) for n in range(60)]
    report = preprocess_rows("single_label", rows, encoder, tmp_path / "out")
    assert report.args.label_map == ({"false": 0, "true": 1} if kind is bool else {"0": 0, "1": 1})


def test_words_of_many_sub_words_keep_their_tags(encoder, tmp_path):
    draw = random.Random(0)
    rows = []
    for number in range(60):
        words = ["".join(draw.choices("bcdfghjk", k=draw.randint(10, 30))) for _ in range(12)]
        rows.append({"tokens": [*words, str(number)], "ner_tags": ["O", "B-X", "I-X", *["O"] * 10]})
    report = preprocess_rows("ner", rows, encoder, tmp_path / "out", max_seq_length=40)
    head = read_head(tmp_path / "out")
    train = report.args.splits["train"]
    assert train["cut"] == 0
    assert train["inputs"] > 5 * train["rows"]
    tags = Counter(head.labels[label] for labels in learned(tmp_path / "out") for label in labels if label >= 0)
    assert tags == Counter(tag for row in written(tmp_path / "out", "train") for tag in row["ner_tags"])


@pytest.mark.parametrize("task", ["single_label", "multi_label", "regression", "ner"])
def test_rows_of_10000_characters_fit_the_model(encoder, tmp_path, task):
    rows = task_rows(task)
    for number, row in enumerate(rows):
        if task == "ner":
            row["tokens"] = [*row["tokens"], "x" * 10_000, str(number)]
            row["ner_tags"] = [*row["ner_tags"], "O", "O"]
        else:
            row["text"] = f"{number} " + f"{text(number)} " * 250
            assert len(row["text"]) > 10_000
    report = preprocess_rows(task, rows, encoder, tmp_path / "out")
    for numbers in report.args.splits.values():
        # WordPiece reads a word of more than 100 characters as unknown, so none of it is cut
        assert numbers["cut"] == (0 if task == "ner" else numbers["rows"])
        assert numbers["longest"] <= 64


def test_a_row_of_one_character_and_one_of_nothing_readable_work(encoder, tmp_path):
    rows = [label_row(n, "ab"[n % 2]) for n in range(60)]
    rows += [{"text": "\u4e2d", "label": "a"}, {"text": "\u200b.", "label": "b"}]
    report = preprocess_rows("single_label", rows, encoder, tmp_path / "out")
    assert sum(numbers["rows"] for numbers in report.args.splits.values()) == 62


def test_train_validation_and_test_may_be_files_of_their_own(encoder, tmp_path):
    rows = task_rows("ner", 100)
    (tmp_path / "validation.json").write_text(json.dumps(rows[60:80]))
    (tmp_path / "test.tsv").write_text(
        "tokens\tner_tags\n" + "".join(f"{json.dumps(r['tokens'])}\t{json.dumps(r['ner_tags'])}\n" for r in rows[80:])
    )
    files = {"validation_file": str(tmp_path / "validation.json"), "test_file": str(tmp_path / "test.tsv")}
    report = preprocess_rows("ner", rows[:60], encoder, tmp_path / "out", files)
    assert report.data.rows == {"train": 60, "validation": 20, "test": 20}
    assert written(tmp_path / "out", "test") == rows[80:]


def test_a_label_that_training_never_shows_has_a_number_and_is_remarked(encoder, tmp_path):
    rows = [label_row(n, "ab"[n % 2]) for n in range(100)]
    rows[70]["label"] = "new"
    write(tmp_path / "data" / "train.jsonl", rows[:60])
    write(tmp_path / "data" / "validation.jsonl", rows[60:80])
    write(tmp_path / "data" / "test.jsonl", rows[80:])
    report = preprocess_rows("single_label", tmp_path / "data", encoder, tmp_path / "out")
    assert report.args.label_map == {"a": 0, "b": 1, "new": 2}
    assert 2 in learned(tmp_path / "out", "validation")
    assert report.data.count("label_not_in_train") == 1
