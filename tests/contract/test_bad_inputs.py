"""Broken inputs of every kind: refused with a message that names the thing, or accepted and counted; never a traceback.

The first half makes its own files; the second runs over a published collection of broken inputs where it is at hand.
"""

import json
from pathlib import Path

import pytest
from support.bad_inputs import SHARED, published_cases, unpack

from components.core.data import prepare_dataset
from components.core.errors import PlatformError
from components.core.recipe import DataConfig, TaskConfig
from components.core.settings import Settings


def good(number: int):
    context = " ".join(f"w{number}x{position}" for position in range(12))
    answers = {"text": [f"w{number}x0"], "answer_start": [0]}
    return {"id": f"good{number}", "context": context, "question": f"What is number {number}?", "answers": answers}


def lines(rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def prepare(source: Path, output_dir: Path, **changes):
    data = DataConfig.model_validate({"dataset_id": str(source)} | changes)
    return prepare_dataset(data, TaskConfig(), output_dir, Settings())


ROWS = [good(number) for number in range(5)]
MADE = {
    # case: (file name, content, part of the message, or None when it is accepted)
    "trailing comma": ("a.jsonl", lines(ROWS).replace(b"}\n", b"},\n"), "a.jsonl:1: trailing comma"),
    "python repr": ("a.jsonl", "\n".join(map(repr, ROWS)).encode(), "a.jsonl:1: .*single quotes"),
    "byte order mark": ("a.jsonl", b"\xef\xbb\xbf" + lines(ROWS), None),
    "crlf": ("a.jsonl", lines(ROWS).replace(b"\n", b"\r\n"), None),
    "line separators in a text": ("a.jsonl", lines([*ROWS[1:], ROWS[0] | {"title": "a\u2028b\u0085c"}]), None),
    "nul bytes": ("a.jsonl", lines(ROWS) + b"\0" * 64 + lines([good(9)]), "a.jsonl:6: holds NUL"),
    "latin-1": ("a.jsonl", lines(ROWS) + '{"id": "é"}'.encode("latin-1"), "a.jsonl:6: not UTF-8 at byte 8"),
    "empty": ("a.jsonl", b"", "there are no rows"),
    "white space only": ("a.jsonl", b"\n \n\t\n", "there are no rows"),
    "error page": ("a.jsonl", b"<!DOCTYPE html>\n<title>502</title>", "looks like an HTML"),
    "xlsx as csv": ("a.csv", b"PK\x03\x04....", "zip or xlsx"),
    "too large number": ("a.jsonl", lines(ROWS) + b'{"id": 1e400}\n', "a.jsonl:6: .*1e400 is not finite"),
    "duplicate ids": ("a.jsonl", lines([row | {"id": "x"} for row in ROWS]), "a.jsonl:2: the id is also that of row 1"),
    "huge line": ("a.jsonl", lines([good(1) | {"title": "x" * 3_000_000}, *ROWS]), "a.jsonl:1: longer than 2,097,152"),
    "unclosed quote": ("a.csv", b'context,question,answers\n"never,b,c\nd,e,f\n', "a.csv:2: a quote opens"),
    "no header": ("a.csv", b"Lima is big,Which?,Lima\n", "add a header"),
    "template syntax": ("a.jsonl", lines([*ROWS[1:], ROWS[0] | {"question": "{question} {{ x }} <|im_end|>?"}]), None),
    "one row": ("a.jsonl", lines(ROWS[:1]), "too few rows"),
    "tar archive": ("a.tar", b"", "archives are not unpacked"),
}  # fmt: skip


@pytest.mark.parametrize("case", MADE)
def test_made_input(tmp_path, case):
    name, content, refusal = MADE[case]
    (tmp_path / name).write_bytes(content)
    if refusal is None:
        report = prepare(tmp_path / name, tmp_path / "out")
        assert (sum(report.rows.values()), report.errors) == (5, 0)
    else:
        with pytest.raises(PlatformError, match=refusal):
            prepare(tmp_path / name, tmp_path / "out")


OPENED = {
    # part of the message of a refusal; a case that is not listed must be accepted
    "qa_trailing_comma.jsonl": r"qa_trailing_comma\.jsonl:1: trailing comma: not one JSON object per line",
    "qa_python_repr.jsonl": r"qa_python_repr\.jsonl:1: not valid JSON: single quotes",
    "whitespace_only.jsonl": "train split is empty: there are no rows",
    "qa_nul_bytes.jsonl": r"qa_nul_bytes\.jsonl:3: holds NUL bytes",
    "qa_huge_line_5mb.jsonl": r"qa_huge_line_5mb\.jsonl:1: longer than 2,097,152 bytes \(data\.max_row_bytes\)",
    "not_json_html_error_page.jsonl": "looks like an HTML",
    "qa_ids_wrong_types.jsonl": r"qa_ids_wrong_types\.jsonl:2: the id is also that of row 1.*1 and \"1\" are the same",
    "qa_wrong_columns.jsonl": r"found qid, passage, query, answer\. "
    r"Try data\.columns=\{context: passage, question: query, answers: answer\}",
    "qa_wrong_types.jsonl": r"(?=.*:1: context: expected text)(?=.*:2: question: expected text)(?=.*:4: answers\.text)",
    "qa_duplicate_ids.jsonl": r"qa_duplicate_ids\.jsonl:2: the id is also that of row 1",
    "qa_whitespace_answers.jsonl": r"qa_whitespace_answers\.jsonl:1: answers: only whitespace",
    "qa_impossible_with_answers.jsonl": r"(?=.*:1: is_impossible is true)(?=.*:2: is_impossible is false)",
    "zero_rows.parquet": "train split is empty: there are no rows",
    "truncated.parquet": "not a complete Parquet file",
    "gzip_bomb_100mb.jsonl.gz": "refused as a decompression bomb",
    "tar_symlink_escape.tar": "archives are not unpacked, because they can hold links",
    "symlink_outside.jsonl": "symbolic link that leads out of its folder",
    "symlink_loop.jsonl": "a loop of symbolic links",
}
REMARKED = {
    # the finding by which an accepted input is remarked
    "qa_json_array.jsonl": "json_array_in_jsonl",
    "qa_answer_not_in_context.jsonl": "answer_not_in_context",
    "qa_official_squad_nested.json": "nested_squad",
}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The collection on disk."""
    return unpack(tmp_path_factory.mktemp("bad_inputs"))


@pytest.mark.parametrize(
    "case",
    published_cases(("qa", "any"))
    or [pytest.param(None, marks=pytest.mark.skip(reason="the collection of broken inputs is not here"))],
    ids=lambda case: case["file"] if case else "absent",
)
def test_published_input(unpacked, tmp_path, case):
    name, outcome = case["file"], case["outcome"]
    if name in OPENED:
        assert outcome != "accept"
        with pytest.raises(PlatformError, match=OPENED[name]):
            prepare(unpacked / name, tmp_path / "out")
        return
    assert outcome != "reject"
    # as the train split of a folder: some hold too few rows to cut validation and test out of them
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / f"train{Path(name).suffix}").write_bytes((unpacked / name).read_bytes())
    (folder / "validation.jsonl").write_bytes(lines(ROWS[:2]))
    (folder / "test.jsonl").write_bytes(lines(ROWS[2:]))
    report = prepare(folder, tmp_path / "out")
    assert report.errors == 0
    assert report.rows["train"] == report.rows_read["train"] > 0
    if outcome == "accept_with_warning":
        assert report.count(REMARKED[name]) > 0


@pytest.mark.skipif(not SHARED.exists(), reason="the collection of broken inputs is not here")
def test_line_separators_and_line_ends_of_the_published_inputs_survive(unpacked, tmp_path):
    (tmp_path / "a.jsonl").write_bytes(
        (unpacked / "qa_u2028_in_text.jsonl").read_bytes() + (unpacked / "qa_crlf.jsonl").read_bytes()
    )
    with pytest.raises(PlatformError, match="the id is also that of"):
        prepare(tmp_path / "a.jsonl", tmp_path / "out")
    prepare(tmp_path / "a.jsonl", tmp_path / "out", on_bad_row="drop")
    written = b"".join((tmp_path / "out" / f"{split}.jsonl").read_bytes() for split in ("train", "validation", "test"))
    assert "\u2028".encode() in written
    assert b"\r" not in written
    assert b"\\r" not in written
