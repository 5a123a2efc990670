"""JSON in a model's answer."""

from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from components.core.service_llm.json_replies import read_json


class Score(BaseModel):
    score: Annotated[int, Field(ge=0, le=100)]
    reason: str = ""


@pytest.mark.parametrize(
    "text",
    [
        '{"score": 80, "reason": "close"}',
        '```json\n{"score": 80, "reason": "close"}\n```',
        'Sure! Here it is:\n```\n{"score": 80, "reason": "close"}\n```\nAnything else?',
        'The set {a, b} is {"note": 1} no; {"score": 80, "reason": "close"}',
        '{"score": "80", "reason": "close"}',
    ],
)
def test_json_is_found_whatever_stands_around_it(text):
    assert read_json(text, Score) == Score(score=80, reason="close")


def test_a_line_break_inside_a_string_is_taken():
    assert read_json('{"score": 1, "reason": "a\nb"}', Score).reason == "a\nb"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no JSON object"),
        ("80", "no JSON object"),
        ('{"score": 80', "broken"),
        ('{"score": 101}', "score: Input should be less than or equal to 100"),
        ('{"reason": "x"}', "score: Field required"),
        ('{"score": NaN}', "score"),
        ("{" * 5000, "broken"),
        ('{"a":' * 5000, "deep|broken"),
    ],
)
def test_what_is_wrong_is_told(text, told):
    with pytest.raises(ValueError, match=told):
        read_json(text, Score)


def test_the_answers_own_words_are_not_repeated():
    with pytest.raises(ValueError, match="score") as error:
        read_json('{"score": "my password is hunter2"}', Score)
    assert "hunter2" not in str(error.value)
