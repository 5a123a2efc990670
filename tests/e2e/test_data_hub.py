"""Hub datasets through the real client libraries against a loopback Hub."""

import json

import pytest
from pydantic import SecretStr
from support.hub_server import HubServer

from components.core.data import prepare_dataset, source_version
from components.core.errors import DataError, StorageError
from components.core.recipe import DataConfig, TaskConfig
from components.core.settings import Settings

pytestmark = pytest.mark.e2e


def rows(start: int, count: int) -> bytes:
    lines = []
    for number in range(start, start + count):
        words = [f"w{number}x{position}" for position in range(12)]
        answers = {"text": [words[3]], "answer_start": [sum(len(word) + 1 for word in words[:3])]}
        question = f"What is number {number}?"
        lines.append(
            json.dumps({"id": f"r{number}", "context": " ".join(words), "question": question, "answers": answers})
        )
    return "\n".join(lines).encode() + b"\n"


FILES = {
    "README.md": "---\nlicense: cc-by-4.0\n---\n# Questions\n",
    "train.jsonl": rows(0, 40),
    "validation.jsonl": rows(40, 5),
    "test.jsonl": rows(45, 6),
}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    import datasets.config

    with HubServer() as server:
        server.use(monkeypatch, tmp_path / "cache")
        # the library waits 20 times 5 seconds before it gives a cut stream up
        monkeypatch.setattr(datasets.config, "STREAMING_READ_MAX_RETRIES", 2)
        for kind in ("READ", "OPEN", "READ_SERVER_UNAVAILABLE"):
            monkeypatch.setattr(datasets.config, f"STREAMING_{kind}_RETRY_INTERVAL", 0.01)
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
        yield server


def prepare(hub, tmp_path, dataset_id="acme/questions", token=None, **changes):
    settings = Settings(hf_endpoint=hub.url, hf_token=SecretStr(token) if token else None)
    data = DataConfig.model_validate({"dataset_id": dataset_id} | changes)
    return prepare_dataset(data, TaskConfig(), tmp_path / "out", settings)


def test_a_hub_dataset_is_read_at_the_commit_that_is_recorded(hub, tmp_path):
    first = hub.add_repo("dataset", "acme/questions", FILES)
    hub.repo("dataset", "acme/questions").commit({"train.jsonl": rows(100, 20)})
    report = prepare(hub, tmp_path)
    latest = hub.repo("dataset", "acme/questions").commits[-1]
    info = json.loads((tmp_path / "out" / "dataset_info.json").read_text())
    assert report.rows == {"train": 20, "validation": 5, "test": 6}
    assert (info["revision"], info["license"]) == (report.revision, "cc-by-4.0")
    assert report.revision != first
    assert report.revision == getattr(latest, "sha", latest)
    data = DataConfig(dataset_id="acme/questions")
    assert source_version(data, Settings(hf_endpoint=hub.url)) == report.revision
    pinned = prepare(hub, tmp_path, revision=first)
    assert (pinned.revision, pinned.rows["train"]) == (first, 40)


def test_a_parquet_dataset_with_other_columns_and_splits_is_cut(hub, tmp_path):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pylist([json.loads(line) | {"image": b"x"} for line in rows(0, 50).splitlines()])
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(table.rename_columns(["id", "passage", "question", "answers", "image"]), sink)
    hub.add_repo("dataset", "acme/parquet", {"data/train-00000-of-00001.parquet": sink.getvalue().to_pybytes()})
    report = prepare(hub, tmp_path, "acme/parquet", columns={"context": "passage"})
    assert report.rows == {"train": 40, "validation": 5, "test": 5}
    assert "image" not in [column.name for column in report.columns]


def test_bad_rows_on_the_hub_are_named_by_split_and_number(hub, tmp_path):
    broken = (
        rows(0, 20)
        + b'{"id": "bad", "context": " ", "question": "Why?", "answers": {"text": [], "answer_start": []}}\n'
    )
    hub.add_repo("dataset", "acme/questions", FILES | {"train.jsonl": broken})
    with pytest.raises(DataError, match="acme/questions/train:21: context: is empty"):
        prepare(hub, tmp_path)


def test_private_and_gated_datasets_name_the_token(hub, tmp_path):
    hub.add_repo("dataset", "acme/questions", FILES, private=True)
    with pytest.raises(StorageError, match="not found on .* or private .*set HF_TOKEN"):
        prepare(hub, tmp_path)
    assert prepare(hub, tmp_path, token="hf_write").rows["train"] == 40
    hub.add_repo("dataset", "acme/gated", FILES, gated=True)
    with pytest.raises(StorageError, match="access denied .*Ask for access"):
        prepare(hub, tmp_path, "acme/gated", token="hf_read")


def test_what_does_not_exist_is_named(hub, tmp_path):
    with pytest.raises(StorageError, match="acme/nothing: not found on"):
        prepare(hub, tmp_path, "acme/nothing")
    hub.add_repo("dataset", "acme/questions", FILES)
    with pytest.raises(StorageError, match="no revision 'v9'"):
        prepare(hub, tmp_path, revision="v9")
    with pytest.raises(DataError, match="has no split 'train_sft'; it has train, validation, test"):
        prepare(hub, tmp_path, train_split="train_sft")
    hub.add_repo("dataset", "acme/empty", {"README.md": "# Nothing"})
    with pytest.raises(DataError, match="holds no data files"):
        prepare(hub, tmp_path, "acme/empty")


def test_a_failing_hub_is_named_and_gives_no_version(hub, tmp_path):
    hub.add_repo("dataset", "acme/questions", FILES)
    hub.fail_next(503, times=50)
    with pytest.raises(StorageError, match=r"the Hub failed \(503\)"):
        prepare(hub, tmp_path)
    assert source_version(DataConfig(dataset_id="acme/questions"), Settings(hf_endpoint=hub.url)) == ""


def test_a_stream_that_is_cut_again_and_again_is_an_error(hub, tmp_path):
    hub.add_repo("dataset", "acme/questions", FILES)
    hub.fail_next(times=500, path="train.jsonl", method="GET", mode="cut")
    with pytest.raises(StorageError, match="cannot read acme/questions.*run it again"):
        prepare(hub, tmp_path)
    assert not (tmp_path / "out" / "train.jsonl").exists()


def test_a_hub_that_cannot_be_reached_is_named(hub, tmp_path):
    hub.__exit__()
    with pytest.raises(StorageError, match="connection to http://127.0.0.1:.* failed"):
        prepare(hub, tmp_path)
