"""Class ids that a Parquet file names itself."""

import json

import pyarrow
import pyarrow.parquet
import pytest
from support.question_files import written
from support.task_files import prepare_task, text

from components.core.data.formats.class_names import class_names
from components.core.errors import DataError

LABEL = {"names": ["bad", "good"], "_type": "ClassLabel"}
TAGS = {"names": ["O", "B-LOC", "I-LOC"], "_type": "ClassLabel"}


def parquet(path, columns, features=None):
    table = pyarrow.table(columns)
    if features:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pyarrow.parquet.write_table(table, path)
    return path


def test_ids_become_the_names_that_the_file_gives(tmp_path):
    columns = {"text": [text(n) for n in range(40)], "label": [n % 2 for n in range(40)]}
    features = {"text": {"dtype": "string", "_type": "Value"}, "label": LABEL}
    report = prepare_task("single_label", parquet(tmp_path / "a.parquet", columns, features), tmp_path / "out")
    assert list(report.targets.labels) == ["bad", "good"]
    assert report.count("class_names") == 1
    assert {row["label"] for row in written(tmp_path / "out", "test")} == {"bad", "good"}


@pytest.mark.parametrize("sequence", [{"feature": TAGS, "_type": "List"}, [TAGS]])
def test_lists_of_ids_become_tags(tmp_path, sequence):
    columns = {"tokens": [["in", f"Lima{n}"] for n in range(40)], "ner_tags": [[0, 1]] * 40}
    source = parquet(tmp_path / "a.parquet", columns, {"ner_tags": sequence})
    prepare_task("ner", source, tmp_path / "out")
    assert written(tmp_path / "out", "test")[0]["ner_tags"] == ["O", "B-LOC"]


def test_minus_one_is_no_label_and_refused_as_such(tmp_path):
    columns = {"text": [text(n) for n in range(40)], "label": [-1] + [n % 2 for n in range(39)]}
    source = parquet(tmp_path / "a.parquet", columns, {"label": LABEL})
    with pytest.raises(DataError, match="a.parquet:1: label: expected a label, found null"):
        prepare_task("single_label", source, tmp_path / "out")


def test_ids_without_names_stay_numbers_for_labels_and_are_refused_as_tags(tmp_path):
    columns = {"text": [text(n) for n in range(40)], "label": [n % 2 for n in range(40)]}
    report = prepare_task("single_label", parquet(tmp_path / "a.parquet", columns), tmp_path / "out")
    assert list(report.targets.labels) == ["0", "1"]
    tags = {"tokens": [["in", f"Lima{n}"] for n in range(40)], "ner_tags": [[0, 1]] * 40}
    with pytest.raises(DataError, match="numbers, and nothing says which tags they stand for"):
        prepare_task("ner", parquet(tmp_path / "b.parquet", tags), tmp_path / "out")


def test_metadata_of_another_kind_names_nothing():
    assert class_names({"a": {"_type": "Value"}, "b": [], "c": None, "d": {"_type": "ClassLabel"}}) == {}
