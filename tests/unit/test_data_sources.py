"""Where rows come from: files, folders, links, addresses."""

import json
import os
import socket
import threading
from pathlib import Path

import httpx
import pytest

from components.core.data.sources import local_path, open_source
from components.core.data.sources.download import download, probe, without_secrets
from components.core.errors import DataError, StorageError
from components.core.recipe import DataConfig
from components.core.settings import Settings

ROW = json.dumps({"id": "1", "context": "c", "question": "q", "answers": ["c"]}) + "\n"
COLUMNS = ("context", "question", "answers")


def files(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(ROW)
    return root


def find(dataset_id: Path | str, tmp_path: Path, **changes):
    data = DataConfig.model_validate({"dataset_id": str(dataset_id)} | changes)
    return open_source(data, Settings(), COLUMNS, COLUMNS, tmp_path / "download")


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["train.jsonl", "dev.jsonl"], {"train": ["train.jsonl"], "validation": ["dev.jsonl"]}),
        (["train-v2.0.json", "dev-v2.0.json"], {"train": ["train-v2.0.json"], "validation": ["dev-v2.0.json"]}),
        (
            ["data/train-00000-of-00002.jsonl", "data/train-00001-of-00002.jsonl", "data/test.jsonl.gz"],
            {
                "train": ["data/train-00000-of-00002.jsonl", "data/train-00001-of-00002.jsonl"],
                "test": ["data/test.jsonl.gz"],
            },
        ),
        (["train/a.csv", "train/b.csv"], {"train": ["train/a.csv", "train/b.csv"]}),
        (["questions.jsonl", "README.md"], {"train": ["questions.jsonl"]}),
        (["train.jsonl", "train_old.jsonl", ".hidden.jsonl"], {"train": ["train.jsonl"]}),
    ],
)  # fmt: skip
def test_files_find_their_split(tmp_path, names, found):
    assert find(files(tmp_path / "data", *names), tmp_path).files == found


def test_a_configured_split_name_is_the_only_one(tmp_path):
    root = files(tmp_path / "data", "train.jsonl", "train_sft.jsonl", "val.jsonl")
    assert find(root, tmp_path, train_split="train_sft").files["train"] == ["train_sft.jsonl"]


@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["train.jsonl", "train.csv"], "train split stands there more than once"),
        (["a.jsonl", "b.jsonl"], r"no file for a split: expected train\.jsonl.*found a\.jsonl, b\.jsonl"),
        (["dev.jsonl", "test.jsonl"], "no train split"),
        ([".keep"], "found no data files"),
        (["squad.zip"], r"found squad\.zip"),
    ],
)
def test_a_folder_that_cannot_be_understood_says_what_is_there(tmp_path, names, match):
    with pytest.raises(DataError, match=match):
        find(files(tmp_path / "data", *names), tmp_path)


def test_the_licence_is_read_from_the_readme(tmp_path):
    root = files(tmp_path / "data", "train.jsonl")
    (root / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n# Data\n")
    assert find(root, tmp_path).license == "cc-by-4.0"


def test_a_file_name_that_starts_with_a_dash_works(tmp_path, monkeypatch):
    files(tmp_path, "-rf.jsonl")
    monkeypatch.chdir(tmp_path)
    assert find("-rf.jsonl", tmp_path).files == {"train": ["-rf.jsonl"]}


def test_a_link_out_of_its_folder_is_not_followed(tmp_path):
    outside = files(tmp_path / "outside", "secret.jsonl") / "secret.jsonl"
    root = files(tmp_path / "data", "train.jsonl")
    (root / "link.jsonl").symlink_to(outside)
    with pytest.raises(StorageError, match="leads out of its folder"):
        find(root / "link.jsonl", tmp_path)
    (root / "test.jsonl").symlink_to(outside)
    with pytest.raises(StorageError, match="leads out of the dataset's folder"):
        find(root, tmp_path)


def test_links_inside_the_folder_are_followed_as_a_mounted_config_map_needs_it(tmp_path):
    root = files(tmp_path / "data", "..2024/train.jsonl")
    (root / "train.jsonl").symlink_to(Path("..2024") / "train.jsonl")
    source = find(root, tmp_path)
    assert [parsed.row for _, parsed in source.splits["train"]()] == [1]


def test_loops_pipes_and_missing_files_are_clean_errors(tmp_path):
    (tmp_path / "loop.jsonl").symlink_to("loop.jsonl")
    (tmp_path / "gone.jsonl").symlink_to("nothing.jsonl")
    os.mkfifo(tmp_path / "pipe.jsonl")
    for name, match in (
        ("loop", "loop of symbolic links"),
        ("gone", "link to nothing"),
        ("pipe", "not a regular file"),
    ):
        with pytest.raises(StorageError, match=match):
            find(tmp_path / f"{name}.jsonl", tmp_path)
    with pytest.raises(StorageError, match="no such file or folder"):
        find(tmp_path / "missing.jsonl", tmp_path)


@pytest.mark.parametrize(
    ("dataset_id", "match"),
    [
        ("s3://bucket/data.jsonl", "s3:// addresses are not supported"),
        ("./data.tar.gz", "no such file"),
        ("a\0b", "neither a local file"),
    ],
)
def test_ids_that_are_no_dataset_are_named(tmp_path, dataset_id, match):
    with pytest.raises((DataError, StorageError), match=match):
        find(dataset_id, tmp_path)


def test_an_archive_or_unknown_format_is_refused(tmp_path):
    files(tmp_path, "a.tar", "a.xlsx")
    with pytest.raises(DataError, match="archives are not unpacked"):
        find(tmp_path / "a.tar", tmp_path)
    with pytest.raises(DataError, match="unknown format; supported are .jsonl"):
        find(tmp_path / "a.xlsx", tmp_path)


def serve(status: int = 200, content: bytes = ROW.encode(), **headers: str) -> httpx.MockTransport:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.MockTransport(lambda request: httpx.Response(status, content=iter([content]), headers=fields))


def test_a_download_takes_its_name_from_the_address_or_the_content_type(tmp_path):
    file = download("http://host/a/train.jsonl?token=x", tmp_path, 1000, serve())
    assert (file.name, file.read_text()) == ("train.jsonl", ROW)
    assert download("http://host/export", tmp_path, 1000, serve(content_type="text/csv; charset=x")).name == "data.csv"


@pytest.mark.parametrize(
    ("status", "match"),
    [(401, "access denied"), (403, "access denied"), (404, "not found"), (503, "server failed"), (204, "answered 204")],
)
def test_a_refused_download_says_why_without_the_query(tmp_path, status, match):
    with pytest.raises(StorageError, match=match) as caught:
        download("http://user:pass@host/a.jsonl?signature=secret", tmp_path, 1000, serve(status))
    assert "secret" not in str(caught.value)
    assert "pass" not in str(caught.value)


def test_a_download_over_the_limit_stops(tmp_path):
    with pytest.raises(StorageError, match="max_file_bytes"):
        download("http://host/a.jsonl", tmp_path, 10, serve())


def test_a_web_page_is_no_data_file(tmp_path):
    with pytest.raises(DataError, match="is a web page"):
        download("http://host/page", tmp_path, 1000, serve(content_type="text/html"))
    with pytest.raises(DataError, match="names no format"):
        download("http://host/thing", tmp_path, 1000, serve(content_type="application/octet-stream"))


def test_a_download_that_is_cut_is_not_taken_for_a_file(tmp_path):
    listener = socket.create_server(("127.0.0.1", 0))

    def cut() -> None:
        connection, _ = listener.accept()
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + ROW.encode())
        connection.close()

    thread = threading.Thread(target=cut)
    thread.start()
    with pytest.raises(StorageError, match="connection was cut"):
        download(f"http://127.0.0.1:{listener.getsockname()[1]}/a.jsonl", tmp_path, 2000)
    thread.join()
    listener.close()
    assert not (tmp_path / "a.jsonl").exists()


def test_a_server_that_is_not_there_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(StorageError, match=f"cannot reach http://127.0.0.1:{port}/a.jsonl"):
        download(f"http://127.0.0.1:{port}/a.jsonl", tmp_path, 2000)


def test_the_version_of_an_address_is_its_etag_or_date():
    assert probe("http://host/a", serve(etag='"abc"')) == '"abc"'
    assert probe("http://host/a", serve(last_modified="Mon")).startswith("Mon")
    assert probe("http://host/a", serve(404)) == ""
    assert without_secrets("https://u:p@host:8080/a/b.jsonl?x=y") == "https://host:8080/a/b.jsonl"


def test_a_task_without_an_embedded_dataset_says_so():
    with pytest.raises(StorageError, match=r"no embedded dataset of the task translation. Name yours"):
        local_path(DataConfig(), "translation")
