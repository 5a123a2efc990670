"""The first rows of a file in full."""

import json
import subprocess
import sys

import pytest

from components.core.data.preview import preview
from components.core.errors import DataError, StorageError


def test_the_first_five_rows_are_shown_in_full(tmp_path):
    long = "word " * 2000
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"{number} {long}"}) + "\n" for number in range(7)))
    shown = list(preview(path))
    assert [block.splitlines()[0] for block in shown] == [f"rows.jsonl, row {number}:" for number in range(1, 6)]
    assert f'"prompt": "4 {long}"' in shown[4]


def test_a_parquet_file_shows_all_its_columns(tmp_path):
    import pyarrow
    import pyarrow.parquet

    rows = [{"prompt": "a", "messages": [{"role": "user", "content": "b"}]}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
    assert json.loads(next(preview(tmp_path / "rows.parquet")).partition("\n")[2]) == rows[0]


def test_a_row_that_cannot_be_read_says_why_and_controls_are_escaped(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": "\u009b31m"}\n{broken\n')
    first, second = preview(path)
    assert "\u009b" not in first
    assert "\\x9b31m" in first
    assert "row 2:\n  " in second


def test_what_is_no_data_file_is_refused(tmp_path):
    with pytest.raises(StorageError, match="no such file"):
        list(preview(tmp_path / "none.jsonl"))
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match="name one file ending in .jsonl"):
        list(preview(tmp_path / "notes.txt"))


def test_the_command_shows_a_local_file_and_refuses_an_impossible_share(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "hello"}\n')

    def run(*arguments):
        command = [sys.executable, "-m", "llm-pipelines.download-dataset", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    shown = run("--dataset", str(path), "--preview")
    assert (shown.returncode, '"prompt": "hello"' in shown.stdout) == (0, True)
    assert run("--dataset", str(tmp_path), "--preview").stdout == shown.stdout
    refused = run("--dataset", "acme/chats", "--dataset_split_pc", "0")
    assert refused.returncode == 2
    assert refused.stderr == "error: --dataset_split_pc=0 must be above 0 and at most 100.\n"
