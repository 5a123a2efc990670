import json

import pytest

from ui.events import read_events

DATA = json.dumps({"delta": "Zürich 東京 \u2028 𝕏"}, ensure_ascii=False)
STREAM = f": ping\r\nevent: x\r\ndata: {DATA}\r\n\r\ndata:second\n\n\n\ndata: one\ndata: two\n\n".encode()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_the_same_however_the_bytes_are_cut(size):
    chunks = [STREAM[i : i + size] for i in range(0, len(STREAM), size)]
    assert list(read_events(chunks)) == [DATA, "second", "one\ntwo"]


def test_an_event_comes_out_before_the_next_one_arrives():
    def chunks():
        yield b"data: first\n\n"
        raise AssertionError("the first event was held back")

    assert next(read_events(chunks())) == "first"


def test_the_last_event_needs_no_empty_line():
    assert list(read_events([b"data: a\n\ndata: b"])) == ["a", "b"]


def test_comments_alone_are_no_event():
    assert list(read_events([b": keep-alive\n\n: keep-alive\n\n"])) == []
