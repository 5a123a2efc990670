"""No row is taken twice, none repeats a test row, and different questions are not taken for copies."""

import random

import pytest
from support.chat_rows import chat_row

from components.core.recipe import TaskConfig
from components.core.synthesis.copies import CopyFilter
from components.core.synthesis.rows import ChatRow, Comparing, Place, parse_row
from components.core.tasks import Prompt

BREAD = "Explain step by step how to bake a loaf of rye bread at home for the first time"
CONTEXT = " ".join(random.Random(1).choices([f"word{number}" for number in range(900)], k=200))


def reasons(rows, known=(), tests=(), threshold=0.7, comparing=None):
    copies = CopyFilter(threshold, comparing or Comparing())
    copies.know(list(known))
    copies.hold_out(list(tests))
    return [None if copy is None else copy.reason for copy in copies.judge(list(rows))]


def conversation(*turns, system=""):
    messages = [{"role": "system", "content": system}] if system else []
    messages += [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(turns)]
    row = parse_row({"messages": messages}, Place("set", "train", 1))
    assert isinstance(row, ChatRow)
    return row


def test_each_kind_of_copy_is_told_apart():
    rows = [
        chat_row(BREAD),
        chat_row(BREAD.upper() + "  ", "yes"),
        chat_row(BREAD, "No."),
        chat_row(BREAD.replace("rye", "wheat")),
        chat_row("Name three rivers of France"),
    ]
    assert reasons(rows) == [None, "duplicate", "same_prompt", "too_similar", None]


def test_what_is_there_already_is_not_taken_again():
    assert reasons([chat_row(BREAD)], known=[chat_row(BREAD, "other")]) == ["same_prompt"]


def test_a_row_that_was_left_out_does_not_keep_later_ones_out():
    middle = BREAD.replace("rye bread", "white bread")
    rows = [chat_row(BREAD), chat_row(middle), chat_row(middle.replace("at home", "in camp"))]
    assert reasons(rows, threshold=0.75) == [None, "too_similar", None]


@pytest.mark.parametrize(
    "row",
    [
        chat_row(BREAD.lower()),
        chat_row(BREAD + ", please"),
        conversation("Hello there, my friend and colleague", "Hello.", BREAD, "Take flour."),
        conversation(BREAD, "Take flour.", "And then?", "Knead it."),
        conversation(BREAD, "Take flour.", system="You are a baker with many years of work in a village shop."),
    ],
    ids=["case", "longer", "second turn", "first turn", "system message"],
)
def test_a_test_prompt_does_not_come_back(row):
    assert reasons([row], tests=[chat_row(BREAD, split="test_sft")]) == ["test_overlap"]


def test_a_short_user_message_is_no_sign_of_a_test_row():
    test = conversation("Tell me about the old harbour of Genoa", "It is old.", "Yes, please", "It has a lighthouse.")
    row = conversation("What does a cooper make in his shop", "Barrels.", "Yes, please", "Of oak.")
    assert reasons([row], tests=[test]) == [None]


def test_questions_on_one_context_are_different_ones():
    task = TaskConfig()
    prompt = Prompt(task.prompt_template, True, task.no_answer_text)
    first, second = (
        chat_row(prompt.render(CONTEXT, question))
        for question in ("Who wrote the letter to the king?", "When did the ship leave the harbour?")
    )
    assert reasons([first, second], threshold=0.9) == [None, None]
    assert reasons([second], tests=[first], threshold=0.9) == [None]
    assert reasons([first], tests=[first], threshold=0.9) == ["test_overlap"]


def test_a_template_of_the_users_own_is_taken_off_too():
    own = Prompt("Read this: {context}\nNow say: {question} (in short)", True, "no")
    first, second = (chat_row(own.render(CONTEXT, q)) for q in ("who was it then", "where does he live"))
    assert reasons([first, second], threshold=0.9, comparing=Comparing([own])) == [None, None]
    assert reasons([first, second], threshold=0.9) == [None, "too_similar"]


def test_rows_in_many_batches_are_all_compared(monkeypatch):
    monkeypatch.setattr("components.core.synthesis.copies._BATCH_ROWS", 10)
    rows = [chat_row(f"the {number} of {number}{number} and {number * 7}") for number in range(35)]
    assert reasons(rows + rows) == [None] * 35 + ["duplicate"] * 35
    assert reasons(rows, tests=rows) == ["test_overlap"] * 35
