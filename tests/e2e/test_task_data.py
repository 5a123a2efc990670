"""Each of the four tasks prepared from every format, and from a Hub dataset that names its classes."""

import csv
import io
import json

import pyarrow
import pyarrow.parquet
import pytest
from support.hub_server import HubServer
from support.question_files import SPLITS, written
from support.task_files import task_rows, text

from components.core.data import prepare_dataset
from components.core.recipe import DataConfig, TaskConfig
from components.core.settings import Settings

pytestmark = pytest.mark.e2e


def table(rows, delimiter):
    """Rows as a CSV or TSV file; a list is written as JSON."""
    text_file = io.StringIO()
    writer = csv.DictWriter(text_file, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    for row in rows:
        cells = {name: json.dumps(cell) if isinstance(cell, list) else cell for name, cell in row.items()}
        writer.writerow(cells)
    return text_file.getvalue().encode()


def parquet(rows):
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return file.getvalue()


FORMATS = {
    "jsonl": lambda rows: "".join(json.dumps(row) + "\n" for row in rows).encode(),
    "json": lambda rows: json.dumps(rows).encode(),
    "csv": lambda rows: table(rows, ","),
    "tsv": lambda rows: table(rows, "\t"),
    "parquet": parquet,
}


@pytest.mark.parametrize("task", ["single_label", "multi_label", "regression", "ner"])
def test_every_format_gives_the_same_rows(tmp_path, task):
    rows = task_rows(task, 100)
    prints = {}
    for suffix, content in FORMATS.items():
        source = tmp_path / f"all.{suffix}"
        source.write_bytes(content(rows))
        data = DataConfig(dataset_id=str(source))
        report = prepare_dataset(data, TaskConfig.model_validate({"name": task}), tmp_path / suffix, Settings())
        assert report.rows == {"train": 80, "validation": 10, "test": 10}
        assert (report.errors, report.warnings) == (0, 0), report.findings
        prints[suffix] = report.fingerprint
    assert len(set(prints.values())) == 1, prints
    canonical = {json.dumps(row, sort_keys=True) for split in SPLITS for row in written(tmp_path / "csv", split)}
    assert canonical == {json.dumps(row, sort_keys=True) for row in rows}


def test_a_hub_dataset_names_its_classes(tmp_path, monkeypatch):
    names = ["O", "B-LOC", "I-LOC"]
    columns = {"words": [[text(n), f"Lima{n}"] for n in range(40)], "ner_tags": [[0, 1]] * 40}
    features = {
        "words": {"feature": {"dtype": "string", "_type": "Value"}, "_type": "Sequence"},
        "ner_tags": {"feature": {"names": names, "_type": "ClassLabel"}, "_type": "Sequence"},
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns).replace_schema_metadata(metadata), file)
    with HubServer() as server:
        server.use(monkeypatch, tmp_path / "cache")
        server.add_repo("dataset", "acme/places", {"data/train-00000-of-00001.parquet": file.getvalue()})
        data = DataConfig(dataset_id="acme/places", columns={"tokens": "words"})
        report = prepare_dataset(data, TaskConfig(name="ner"), tmp_path / "out", Settings(hf_endpoint=server.url))
    assert report.rows == {"train": 32, "validation": 4, "test": 4}
    assert report.targets.labels == {"LOC": {"train": 32, "validation": 4, "test": 4}}
    assert report.count("class_names") == 1
