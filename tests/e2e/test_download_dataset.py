"""Hub datasets as files, by the command, with the real client libraries; a loopback server stands in for the Hub."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.hub_server import HubServer

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
SPLITS = ("train_sft", "test_sft", "train_gen", "test_gen")


def parquet(first: int, count: int) -> bytes:
    import pyarrow
    import pyarrow.parquet

    turns = [("user", "Ask {}"), ("assistant", "Answer {}")]
    rows = [
        {
            "prompt": f"Ask {number}",
            "prompt_id": f"p{number}",
            "messages": [{"content": text.format(number), "role": role} for role, text in turns],
        }
        for number in range(first, first + count)
    ]
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return sink.getvalue()


CARD = "---\nlicense: mit\nconfigs:\n- config_name: default\n  data_files:\n" + "".join(
    f"  - split: {split}\n    path: data/{split}-*\n" for split in SPLITS
)
# the card counts two of the splits, as real ones mostly do; the others have to be counted
CARD += "dataset_info:\n  splits:\n  - {name: train_sft, num_examples: 40}\n  - {name: test_sft, num_examples: 41}\n"
FILES = {
    "README.md": f"{CARD}---\n# Chats\n",
    **{f"data/{split}-00000.parquet": parquet(100 * at, 40 + at) for at, split in enumerate(SPLITS)},
}


@pytest.fixture(scope="module")
def hub():
    with HubServer() as server:
        server.add_repo("dataset", "HuggingFaceH4/ultrachat_200k", FILES)
        server.add_repo("dataset", "acme/secret", FILES, private=True)
        yield server


def run(hub, tmp_path, *arguments):
    command = [sys.executable, "-m", "llm-pipelines.download-dataset", *arguments]
    env = os.environ | hub.env() | {"HF_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    env.pop("HF_TOKEN", None)
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=120)


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_five_percent_of_every_split_and_the_first_rows_in_full(hub, tmp_path):
    folder = tmp_path / "ultrachat_200k_dataset"
    folder.mkdir()
    (folder / "mine.txt").write_text("stays")
    dataset = ("--dataset", "HuggingFaceH4/ultrachat_200k")
    done = run(hub, tmp_path, *dataset, "--download_dir", str(folder), "--dataset_split_pc", "5", "--preview")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in folder.iterdir()) == sorted([*(f"{s}.jsonl" for s in SPLITS), "mine.txt"])
    assert {split: len(rows(folder / f"{split}.jsonl")) for split in SPLITS} == dict.fromkeys(SPLITS, 2)
    first = rows(folder / "test_sft.jsonl")[0]
    assert first["messages"][1] == {"content": "Answer 100", "role": "assistant"}
    assert "train_sft.jsonl: 2 rows" in done.stdout
    assert "test_gen.jsonl, row 2:" in done.stdout
    assert '"content": "Answer 301"' in done.stdout


def test_without_a_percentage_every_row_comes(hub, tmp_path):
    done = run(hub, tmp_path, "--dataset", "HuggingFaceH4/ultrachat_200k", "--download_dir", str(tmp_path / "all"))
    assert done.returncode == 0, done.stderr
    assert [len(rows(tmp_path / "all" / f"{split}.jsonl")) for split in SPLITS] == [40, 41, 42, 43]


def test_a_failure_is_one_line_a_code_and_no_files(hub, tmp_path):
    folder = tmp_path / "none"
    done = run(hub, tmp_path, "--dataset", "acme/secret", "--download_dir", str(folder))
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot read acme/secret: not found on ")
    assert len(done.stderr.splitlines()) == 1
    assert not folder.exists()


def test_a_download_that_breaks_off_leaves_the_older_files(hub, tmp_path, monkeypatch):
    import datasets.config

    from components.core.data.sources.hub_files import download_splits
    from components.core.errors import StorageError
    from components.core.recipe import DataConfig
    from components.core.settings import Settings

    hub.use(monkeypatch, tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "STREAMING_READ_MAX_RETRIES", 2)
    for kind in ("READ", "OPEN", "READ_SERVER_UNAVAILABLE"):
        monkeypatch.setattr(datasets.config, f"STREAMING_{kind}_RETRY_INTERVAL", 0.01)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    hub.fail_next(500, times=500, path="test_gen", method="GET")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "train_sft.jsonl").write_text("older\n")
    data, settings = DataConfig(dataset_id="HuggingFaceH4/ultrachat_200k"), Settings(hf_endpoint=hub.url)
    with pytest.raises(StorageError, match="cannot read HuggingFaceH4/ultrachat_200k"):
        download_splits(data, settings, tmp_path / "files")
    assert [path.name for path in (tmp_path / "files").iterdir()] == ["train_sft.jsonl"]
    assert (tmp_path / "files" / "train_sft.jsonl").read_text() == "older\n"
