"""Feedback as training rows."""

import json
import multiprocessing
import threading
from pathlib import Path
from uuid import uuid4

import pytest
from llm_endpoint.feedback import FeedbackStore, RecentAnswers, learned_answer

from components.core.data.formats.json_rows import read_jsonl
from components.core.data.formats.parsed import Limits
from components.core.tasks.qa_rows import parse_qa_row

TRACE = uuid4()


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.mark.parametrize(
    ("score", "correction", "expected"),
    [
        (1.0, None, "Paris"),
        (0.5, None, "Paris"),
        (0.4, None, None),
        (None, None, None),
        (0.0, "Rome", "Rome"),
        (1.0, "Rome", "Rome"),
        (0.0, "", ""),
        (None, " Not in the context ", ""),
    ],
)
def test_what_a_feedback_teaches(score, correction, expected):
    assert learned_answer("Paris", score, correction, "not in the context") == expected


def test_an_empty_response_teaches_nothing_and_the_no_answer_text_an_empty_answer():
    assert learned_answer("", 1.0, None) is None
    assert learned_answer("not in the context", 1.0, None, "not in the context") == ""


def test_rows_pass_the_data_contract_of_the_training(tmp_path: Path):
    path = tmp_path / "feedback.jsonl"
    store = FeedbackStore(path)
    hostile = "line\u2028break\x00 \ud800 \U0001f600 mail me@x.com: Zürich"
    assert store.add(TRACE, hostile, "Which city?", "Zürich", comment="by me@x.com", score=1.0) == "stored"
    assert store.add(TRACE, hostile, "Who?", "") == "stored"
    assert store.add(TRACE, hostile, "Where to?", "Bern") == "stored"
    parsed = list(read_jsonl(path, Limits(2**30, 2**21)))
    assert [item.value is not None for item in parsed] == [True] * 3, parsed
    checked = [parse_qa_row(item.value) for item in parsed]
    assert [[finding.kind for finding in findings] for _, findings in checked] == [[], [], ["answer_not_in_context"]]
    first, unanswerable, elsewhere = [row for row, _ in checked]
    start = first["answers"]["answer_start"][0]
    assert first["context"][start : start + 6] == "Zürich"
    assert "[EMAIL]" in first["context"]
    assert unanswerable["answers"] == {"text": [], "answer_start": []}
    assert elsewhere["answers"]["answer_start"] == [-1]
    assert "me@x.com" not in path.read_text("utf-8")


def test_a_secret_of_the_context_is_not_the_answer_in_the_row(tmp_path: Path):
    FeedbackStore(tmp_path / "f").add(TRACE, "The password: swordfish. Other text.", "The password?", "swordfish")
    assert "swordfish" not in (tmp_path / "f").read_text()


def test_the_same_row_is_stored_once_also_after_a_restart(tmp_path: Path):
    store = FeedbackStore(tmp_path / "f")
    assert [store.add(TRACE, "c", "q", "a"), store.add(uuid4(), "c", "q", "a")] == ["stored", "duplicate"]
    again = FeedbackStore(tmp_path / "f")
    assert [again.add(TRACE, "c", "q", "a"), again.add(TRACE, "c", "q", "b")] == ["duplicate", "stored"]
    assert store.add(TRACE, "c", "q", "b") == "duplicate"


def test_nothing_to_learn_is_not_stored(tmp_path: Path):
    store = FeedbackStore(tmp_path / "f")
    assert {store.add(TRACE, "c", "q", None), store.add(TRACE, " ", "q", "a"), store.add(TRACE, "c", "", "a")} == {
        "nothing_to_learn"
    }
    assert not (tmp_path / "f").exists()


def test_a_torn_last_line_is_removed_and_a_whole_one_is_ended(tmp_path: Path):
    path = tmp_path / "f"
    FeedbackStore(path).add(TRACE, "c", "q", "a")
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    assert FeedbackStore(path).add(TRACE, "c", "q", "b") == "stored"
    assert [row["answers"]["text"] for row in rows(path)] == [["a"], ["b"]]
    path.write_bytes(path.read_bytes()[:-1])
    store = FeedbackStore(path)
    assert store.add(TRACE, "c", "q", "b") == "duplicate"
    assert store.add(TRACE, "c", "q", "d") == "stored"
    assert len(rows(path)) == 3


def test_a_file_that_is_moved_away_starts_anew(tmp_path: Path):
    path = tmp_path / "f"
    store = FeedbackStore(path)
    store.add(TRACE, "c", "q", "a")
    path.rename(tmp_path / "taken")
    assert store.add(TRACE, "c", "q", "a") == "stored"
    assert len(rows(path)) == 1


def test_the_file_is_bounded_and_private(tmp_path: Path):
    path = tmp_path / "new folder" / "f"
    store = FeedbackStore(path, limit_bytes=1000)
    outcomes = [store.add(TRACE, "c", "q", str(number)) for number in range(20)]
    assert "full" in outcomes
    assert path.stat().st_size <= 1000
    assert path.stat().st_mode & 0o077 == 0
    assert store.add(TRACE, "c" * 2**21, "q", "a") == "too_long"


def _add_many(path: Path, start: int) -> None:
    store = FeedbackStore(path)
    for number in range(start, start + 60):
        store.add(TRACE, "context " * 200, "q", f"answer {number % 80}")


def test_threads_and_processes_neither_tear_nor_double_rows(tmp_path: Path):
    path = tmp_path / "f"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_add_many, args=(path, start)) for start in (0, 20)]
    for worker in workers:
        worker.start()
    store = FeedbackStore(path)
    threads = [
        threading.Thread(target=lambda: [store.add(TRACE, "context " * 200, "q", f"answer {n}") for n in range(80)])
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for worker in (*workers, *threads):
        worker.join()
    answers = [row["answers"]["text"][0] for row in rows(path)]
    assert sorted(answers) == sorted(f"answer {number}" for number in range(80))


def test_recent_answers_forget_the_oldest_within_items_and_bytes():
    recent = RecentAnswers(max_items=2, max_bytes=10_000)
    ids = [uuid4() for _ in range(4)]
    for trace_id in ids[:3]:
        recent.remember(trace_id, "q", "c", "a")
    assert [recent.find(trace_id) is None for trace_id in ids[:3]] == [True, False, False]
    recent.remember(ids[3], "q", "c" * 8000, "a")
    assert recent.find(ids[3]).context == "c" * 8000
    assert recent.find(ids[1]) is None
    recent.remember(ids[0], "q", "c" * 20_000, "a")
    assert recent.find(ids[0]) is None
    assert recent.find(uuid4()) is None
