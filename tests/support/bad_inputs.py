"""A published collection of broken inputs, where it is at hand."""

import json
import os
import tarfile
from collections.abc import Collection
from pathlib import Path

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "bad_inputs"
REFUSED_BY_ALL = {
    "whitespace_only.jsonl": "the train split is empty: there are no rows",
    "not_json_html_error_page.jsonl": "looks like an HTML",
    "zero_rows.parquet": "the train split is empty: there are no rows",
    "truncated.parquet": "not a complete Parquet file",
    "gzip_bomb_100mb.jsonl.gz": "refused as a decompression bomb",
    "tar_symlink_escape.tar": "archives are not unpacked, because they can hold links",
    "symlink_outside.jsonl": "symbolic link that leads out of its folder",
    "symlink_loop.jsonl": "a loop of symbolic links",
}
"""Cases of any task, with a part of the message."""


def published_cases(tasks: Collection[str]) -> list[dict[str, str]]:
    """Cases of these tasks: file, what is wrong, and the outcome that a user expects; none where it is not here."""
    if not (SHARED / "cases.jsonl").exists():
        return []
    cases = map(json.loads, (SHARED / "cases.jsonl").read_text(encoding="utf-8").splitlines())
    return [case for case in cases if case["task"] in tasks]


def unpack(folder: Path) -> Path:
    """The collection on disk; its links are made as they are, because they are what is tried."""
    with tarfile.open(SHARED / "cases.tar.gz") as archive:
        for member in archive:
            target = folder / os.path.normpath(member.name)
            if not target.is_relative_to(folder):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if member.issym():
                target.symlink_to(member.linkname)
            elif member.isfile() and (content := archive.extractfile(member)) is not None:
                target.write_bytes(content.read())
    return folder / "bad_inputs"
