"""Feedback becomes conversations in the model's own prompt; what looks private is refused."""

import json
from pathlib import Path

import pytest

from components.core.errors import ConfigError, DataError, StorageError
from components.core.settings import Settings
from components.core.synthesis.feedback import check_file, feedback_prompt, find_private, parse_feedback
from components.core.synthesis.rows import BadRow, ChatRow
from components.core.tasks import Prompt
from components.core.tasks.prompt import messages_prompt, write_prompt

FILE = Path("feedback.jsonl")
PROMPT = Prompt("{context}\nQ: {question}", True, "not in the context")


def row(answer="Bob", question="Who?", **columns):
    answers = {"text": [answer], "answer_start": [0]} if answer else {"text": [], "answer_start": []}
    return {"id": "f" * 24, "title": "feedback", "context": "Bob came.", "question": question, "answers": answers,
            "trace_id": "0190b1e0-7f00-7000-8000-000000000000"} | columns  # fmt: skip


def test_a_row_is_put_into_the_models_own_prompt():
    found = list(parse_feedback([row(), row(answer="")], FILE, PROMPT))
    assert [each.messages for each in found] == [
        [{"role": "user", "content": "Bob came.\nQ: Who?"}, {"role": "assistant", "content": "Bob"}],
        [{"role": "user", "content": "Bob came.\nQ: Who?"}, {"role": "assistant", "content": "not in the context"}],
    ]
    assert found[0].category == "feedback"
    assert found[0].source == "feedback.jsonl#1 trace 0190b1e0-7f00-7000-8000-000000000000"


def test_a_conversation_passes_as_it_is():
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    (found,) = parse_feedback([{"messages": messages}], FILE, PROMPT)
    assert isinstance(found, ChatRow)
    assert found.messages == messages


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("Write to bob@example.org about it", "e-mail"),
        ("the key is hf_" + "a1" * 17, "Hugging Face token"),
        ("pay with 4111 1111 1111 1111 now", "card number"),
        ("pay with 5500-0055-5555-5559", "card number"),
    ],
)
def test_a_private_row_is_refused_with_its_number_and_without_the_text(text, what):
    (found,) = parse_feedback([row(context=text)], FILE, PROMPT)
    assert isinstance(found, BadRow)
    assert found.kind == "private"
    assert what in found.reason
    assert found.place.row == 1
    assert text not in found.reason


@pytest.mark.parametrize(
    "text",
    [
        "order 1234567890123456",
        "[EMAIL] and [KEY] and [CARD]",
        "0000 0000 0000 0000",
        "from 1914 to 1918",
        "3.14159265358979",
    ],
)
def test_harmless_numbers_and_marks_pass(text):
    assert find_private(text) == ""


def test_a_trace_id_is_not_private():
    (found,) = parse_feedback([row(trace_id="4111111111111111")], FILE, PROMPT)
    assert isinstance(found, ChatRow)


def test_a_broken_row_is_refused_with_the_reason():
    (found,) = parse_feedback([{"context": "Bob came."}], FILE, PROMPT)
    assert isinstance(found, BadRow)
    assert found.kind == "bad_row"
    assert "question" in found.reason


def test_the_prompt_is_that_of_the_model(tmp_path):
    settings = Settings(whetstone_home=tmp_path)
    write_prompt(PROMPT, tmp_path)
    assert feedback_prompt(str(tmp_path), settings) == PROMPT
    assert "{context}" in feedback_prompt(None, settings).template
    (tmp_path / "other").mkdir()
    with pytest.raises(StorageError, match=r"prompt\.json is missing"):
        feedback_prompt(str(tmp_path / "other"), settings)
    with pytest.raises(ConfigError, match="no folder"):
        feedback_prompt("nothing-here", settings)


def test_a_model_that_takes_messages_gets_the_default_prompt():
    (found,) = parse_feedback([row()], FILE, messages_prompt())
    assert "Bob came." in found.prompt
    assert "Who?" in found.prompt


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="consent"):
        check_file(tmp_path / "none.jsonl")
    (tmp_path / "some.jsonl").write_text(json.dumps(row()))
    check_file(tmp_path / "some.jsonl")
