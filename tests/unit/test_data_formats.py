"""Every row of every format arrives with its number, and damage is named."""

import gzip
import json
from pathlib import Path

import pytest

from components.core.data.formats import BrokenFile, Limits, format_of, read_file
from components.core.errors import DataError

LIMITS = Limits(file_bytes=2**30, row_bytes=2**20)
COLUMNS = ("context", "question", "answers")


def read(path: Path, limits: Limits = LIMITS):
    return list(read_file(path, limits, COLUMNS, {*COLUMNS, "id", "title"}))


def values(path: Path, limits: Limits = LIMITS):
    return [(parsed.row, parsed.value) for parsed in read(path, limits) if parsed.value is not None]


def kinds(path: Path, limits: Limits = LIMITS):
    return [(parsed.row, finding.kind) for parsed in read(path, limits) for finding in parsed.findings]


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_byte_order_mark_and_crlf_leave_no_trace(tmp_path):
    path = write(tmp_path / "a.jsonl", b'\xef\xbb\xbf{"id": "1"}\r\n{"id": "2"}\r\n')
    assert values(path) == [(1, {"id": "1"}), (2, {"id": "2"})]


def test_unicode_line_separators_inside_a_text_do_not_end_the_row(tmp_path):
    text = "one\u2028two\u0085three\x0cfour"
    path = write(tmp_path / "a.jsonl", json.dumps({"context": text}, ensure_ascii=False) + "\n")
    assert values(path) == [(1, {"context": text})]


@pytest.mark.parametrize(
    ("line", "kind", "hint"),
    [
        ('{"id": 1},', "trailing_comma", "trailing comma"),
        ("{'id': None}", "python_repr", "single quotes"),
        ('{"id": 1' + "\x00" * 8 + "}", "nul_bytes", "NUL"),
        ('{"id": 1e400}', "not_finite", "1e400 is not finite"),
        ('{"id": NaN}', "not_finite", "NaN"),
        ('{"id": -Infinity}', "not_finite", "-Infinity"),
        ('{"id": 1} {"id": 2}', "invalid_json", "more text after"),
        ('{"id": ', "invalid_json", "column"),
        ('{"id": 1}\r{"id": 2}', "invalid_json", "CR only"),
        ("{", "invalid_json", "spread over several"),
        ("[1, 2]", "not_an_object", "array"),
        ("null", "not_an_object", "null"),
        ('{"id": "\\ud800"}', "invalid_unicode", "surrogate"),
        ('{"id": ' + "9" * 5000 + "}", "invalid_json", "digits"),
        ('{"a":' * 100_000, "invalid_json", "nested too deeply"),
    ],
)
def test_a_bad_line_is_named_and_the_next_is_read(tmp_path, line, kind, hint):
    path = write(tmp_path / "a.jsonl", f'{{"id": 0}}\n{line}\n{{"id": 3}}\n')
    rows = read(path)
    assert [parsed.row for parsed in rows] == [1, 2, 3]
    assert rows[1].value is None
    assert rows[1].findings[0].kind == kind
    assert hint in rows[1].findings[0].message
    assert rows[2].value == {"id": 3}


def test_bytes_that_are_not_utf8_name_line_and_offset(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"context": "café"}\n'.encode("latin-1"))
    (parsed,) = read(path)
    assert parsed.findings[0].message.startswith("not UTF-8 at byte 16")


def test_a_repeated_key_is_remarked_and_the_last_one_counts(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"id": 1, "id": 2}\n')
    assert values(path) == [(1, {"id": 2})]
    assert kinds(path) == [(1, "duplicate_key")]


def test_a_line_over_the_limit_is_skipped_and_blank_lines_are_counted(tmp_path):
    path = write(tmp_path / "a.jsonl", b'{"id": 1}\n\n' + b"x" * 500_000 + b'\n{"id": 4}\n')
    assert kinds(path, Limits(2**30, 1000)) == [(2, "blank_line"), (3, "row_too_long")]
    assert [row for row, _ in values(path, Limits(2**30, 1000))] == [1, 4]


def test_a_json_array_is_read_under_either_name(tmp_path):
    rows = [{"id": number, "context": "x" * 1000} for number in range(1000)]  # several chunks of the sliding window
    assert values(write(tmp_path / "a.json", json.dumps(rows))) == list(enumerate(rows, 1))
    path = write(tmp_path / "b.jsonl", json.dumps(rows, indent=1))
    assert values(path) == list(enumerate(rows, 1))
    assert kinds(path) == [(0, "json_array_in_jsonl")]


def test_json_lines_named_json_are_read_with_a_remark(tmp_path):
    path = write(tmp_path / "a.json", '{"id": 1}\n{"id": 2}\n')
    assert values(path) == [(1, {"id": 1}), (2, {"id": 2})]
    assert kinds(path) == [(0, "jsonl_in_json")]


def test_rows_under_data_are_read(tmp_path):
    path = write(tmp_path / "a.json", json.dumps({"version": {"a": [1]}, "data": [{"id": 1}, {"id": 2}]}))
    assert values(path) == [(1, {"id": 1}), (2, {"id": 2})]


def test_nested_squad_becomes_one_row_per_question(tmp_path):
    answers = [{"text": "Lima", "answer_start": 0}]
    questions = [
        {"id": "a", "question": "Which?", "answers": answers, "is_impossible": False},
        {"id": "b", "question": "Why?", "answers": [], "plausible_answers": answers, "is_impossible": True},
    ]
    article = {"title": "Peru", "paragraphs": [{"context": "Lima is big.", "qas": questions}]}
    path = write(tmp_path / "a.json", json.dumps({"version": "v2.0", "data": [article]}))
    common = {"title": "Peru", "context": "Lima is big."}
    found = {"text": ["Lima"], "answer_start": [0]}
    none: dict[str, list[str]] = {"text": [], "answer_start": []}
    assert values(path) == [
        (1, {"id": "a", "question": "Which?", "answers": found, "is_impossible": False} | common),
        (2, {"id": "b", "question": "Why?", "answers": none, "is_impossible": True} | common),
    ]
    assert kinds(path) == [(0, "nested_squad")]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ('[{"id": 1},]', "trailing_comma"),
        ('[{"id": 1}', "incomplete_file"),
        ('[{"id": 1}] x', "invalid_json"),
        ('[{"id": NaN}]', "not_finite"),
        ('{"rows": []}', "wrong_format"),
        (b'[{"id": "caf\xe9"}]', "not_utf8"),
        ("[{'id': 1}]", "python_repr"),
    ],
)
def test_a_broken_json_document_is_named(tmp_path, content, kind):
    with pytest.raises(BrokenFile) as caught:
        read(write(tmp_path / "a.json", content))
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"<!DOCTYPE html><html>", "looks like an HTML"),
        (b"PK\x03\x04 sheet", "zip or xlsx"),
        (b"PAR1....", "Parquet"),
        ("{}".encode("utf-16"), "UTF-16"),
        (gzip.compress(b"{}", mtime=0), r"add \.gz"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"data".ljust(257, b"\0") + b"ustar\x0000", "tar archive"),
    ],
)
def test_content_of_another_kind_is_named(tmp_path, content, match):
    with pytest.raises(BrokenFile, match=match):
        read(write(tmp_path / "a.jsonl", content))


def test_gzip_is_unpacked(tmp_path):
    path = write(tmp_path / "a.jsonl.gz", gzip.compress(b'{"id": 1}\n{"id": 2}\n'))
    assert values(path) == [(1, {"id": 1}), (2, {"id": 2})]


def test_a_cut_gzip_file_is_not_read_as_a_shorter_one(tmp_path):
    packed = gzip.compress(b"".join(json.dumps({"id": number}).encode() + b"\n" for number in range(5000)))
    with pytest.raises(BrokenFile, match="incomplete"):
        read(write(tmp_path / "a.jsonl.gz", packed[: len(packed) // 2]))


def test_a_gzip_bomb_is_refused_by_its_ratio(tmp_path):
    with pytest.raises(BrokenFile, match="decompression bomb"):
        read(write(tmp_path / "a.jsonl.gz", gzip.compress(b" " * 40_000_000)))


def test_a_file_over_the_limit_is_refused(tmp_path):
    with pytest.raises(BrokenFile, match=r"longer than 100 bytes.*max_file_bytes"):
        read(write(tmp_path / "a.jsonl", '{"id": 1}\n' * 20), Limits(100, 1000))


def test_csv_cells_stay_text_and_keep_their_line(tmp_path):
    content = 'context,question,answers\r\nNA,"two\nlines",null\r\n"a ""b""",nan,None\r\n'
    assert values(write(tmp_path / "a.csv", content)) == [
        (2, {"context": "NA", "question": "two\nlines", "answers": "null"}),
        (4, {"context": 'a "b"', "question": "nan", "answers": "None"}),
    ]


def test_csv_empty_cells_are_null_and_json_answers_are_read(tmp_path):
    cell = json.dumps({"text": ["x"], "answer_start": [0]}).replace('"', '""')
    path = write(tmp_path / "a.csv", f'id,context,is_impossible,answers\n,[1],TRUE,"{cell}"\n')
    row = {"id": None, "context": "[1]", "is_impossible": True, "answers": {"text": ["x"], "answer_start": [0]}}
    assert values(path) == [(2, row)]


@pytest.mark.parametrize(("mark", "kind"), [("\t", "tabs_in_csv"), (";", "semicolons_in_csv")])
def test_other_separators_in_a_csv_are_remarked(tmp_path, mark, kind):
    path = write(tmp_path / "a.csv", f"context{mark}question\nx, y{mark}z\n")
    assert values(path) == [(2, {"context": "x, y", "question": "z"})]
    assert kinds(path) == [(0, kind)]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('context,question\n"never closed,b\nc,d\n', [(2, "unclosed_quote")]),
        ("context,question\na,b,c\n", [(2, "wrong_cell_count")]),
        ('context,question\n"a"b,c\nd,e\n', [(2, "invalid_csv")]),
    ],
)
def test_a_broken_csv_row_names_the_line_on_which_it_starts(tmp_path, content, found):
    assert kinds(write(tmp_path / "a.csv", content)) == found


def test_a_csv_without_header_is_refused_before_its_first_row_is_lost(tmp_path):
    with pytest.raises(BrokenFile, match="found Lima is big, Which.*add a header"):
        read(write(tmp_path / "a.csv", "Lima is big,Which?,Lima\n"))


def test_parquet_gives_the_wanted_columns(tmp_path):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"id": ["a", "b"], "context": ["x", "y"], "image": [b"0", b"1"]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert values(tmp_path / "a.parquet") == [(1, {"id": "a", "context": "x"}), (2, {"id": "b", "context": "y"})]
    whole = (tmp_path / "a.parquet").read_bytes()
    with pytest.raises(BrokenFile, match="not a complete Parquet file"):
        read(write(tmp_path / "cut.parquet", whole[:-20]))
    with pytest.raises(BrokenFile, match="max_file_bytes"):
        read(tmp_path / "a.parquet", Limits(10, 1000))


def test_archives_are_refused_by_name():
    with pytest.raises(DataError, match="archives are not unpacked"):
        format_of("squad.tar.gz")
    assert format_of("a.jsonl.gz") == "jsonl"
    assert format_of("a.parquet.gz") is None
    assert format_of("README.md") is None
