"""What a conversation may look like, what is put right with a remark, and what is refused."""

import re

import pytest

from components.core.data.naming import missing_columns_message
from components.core.recipe import TaskConfig
from components.core.tasks import get_generative_task

TASK = get_generative_task(TaskConfig(name="chat_completion"))
SYSTEM, BRIEF, HI, HELLO = ("system", "Be kind."), ("system", "And brief."), ("user", "Hi"), ("assistant", "Hello")
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function"}]}


def messages(*turns):
    return [{"role": role, "content": text} for role, text in turns]


def parse(*turns, **more):
    row, findings = TASK.parse_row({"messages": messages(*turns), **more})
    return row, {finding.kind: finding.severity for finding in findings}


def test_a_row_is_given_back_with_the_first_user_message_as_its_prompt():
    row, findings = parse(SYSTEM, HI, HELLO, prompt_id="p1")
    assert row == {"id": "p1", "prompt": "Hi", "prompt_id": "p1", "messages": messages(SYSTEM, HI, HELLO)}
    assert findings == {}


def test_without_ids_a_row_gets_its_own_from_its_content_and_its_prompts_from_the_prompt():
    (one, _), (other, _) = parse(HI, HELLO), parse(HI, ("assistant", "Good day"))
    assert one["prompt_id"] == other["prompt_id"]
    assert one["id"] != other["id"]


@pytest.mark.parametrize(
    ("turns", "kept", "kind"),
    [
        ([HI, ("user", "are you there?"), HELLO], [("user", "Hi\n\nare you there?"), HELLO], "same_role_joined"),
        ([HI, HELLO, ("assistant", "you")], [HI, ("assistant", "Hello\n\nyou")], "same_role_joined"),
        ([SYSTEM, BRIEF, HI, HELLO], [("system", "Be kind.\n\nAnd brief."), HI, HELLO], "same_role_joined"),
        ([HELLO, HI, HELLO], [HI, HELLO], "assistant_first"),
        ([SYSTEM, HELLO, HI, HELLO], [SYSTEM, HI, HELLO], "assistant_first"),
        ([HI, HELLO, ("user", "Bye")], [HI, HELLO], "last_user_left_out"),
        ([("system", " "), HI, HELLO], [HI, HELLO], "empty_system_left_out"),
    ],
)  # fmt: skip
def test_an_order_that_can_be_put_right_is_put_right_with_a_warning(turns, kept, kind):
    row, findings = parse(*turns)
    assert row["messages"] == messages(*kept)
    assert findings == {kind: "warning"}
    again, _ = TASK.parse_row(row)
    assert again == row


@pytest.mark.parametrize(
    ("given", "kind", "part"),
    [
        ([], "no_assistant_turn", "messages: is empty"),
        (messages(HI), "no_assistant_turn", "no assistant turn after a user message"),
        (messages(SYSTEM), "no_assistant_turn", "nothing to learn"),
        (messages(SYSTEM, HELLO), "no_assistant_turn", "after a user message"),
        (messages(HI, HELLO, SYSTEM, HI, HELLO), "system_not_first", "put it first"),
        (messages(HI, ("assistant", " \n")), "empty_message", r"messages\[1\].content: is empty"),
        (messages(("bot", "Hi"), HELLO), "unknown_role", r"\[0\].role: expected system, user, assistant, found `bot`"),
        ([{"content": "Hi"}, *messages(HELLO)], "unknown_role", "found null"),
        ([{"role": "user", "content": 5}, *messages(HELLO)], "wrong_type", "content: expected text, found a number"),
        ([{"role": "user", "content": None}, *messages(HELLO)], "wrong_type", "content: expected text, found null"),
        (["Hi", "Hello"], "wrong_type", r"messages\[0\]: expected {role, content}, found text"),
        ({"role": "user"}, "wrong_type", "expected a list of {role, content}, found a dict"),
        ("Hi", "wrong_type", "found other text"),
        (None, "missing_field", "found null"),
        ([*messages(HI), CALL, *messages(HELLO)], "tool_message", r"\[1\]: tool calls and tool messages are not"),
        ([*messages(HI), {"role": "tool", "content": "1"}], "tool_message", "not supported"),
        ([{"role": "user", "content": "half \ud800"}, *messages(HELLO)], "not_unicode", "surrogate"),
    ],
)  # fmt: skip
def test_what_cannot_be_learned_from_is_refused_by_name(given, kind, part):
    row, findings = TASK.parse_row({"messages": given})
    assert row is None
    assert [finding.kind for finding in findings if finding.severity == "error"] == [kind]
    assert re.search(part, findings[0].message)


def test_a_list_inside_a_text_is_read_with_a_warning():
    row, findings = TASK.parse_row(
        {"messages": '[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]'}
    )
    assert [message["content"] for message in row["messages"]] == ["Hi", "Yo"]
    assert [finding.kind for finding in findings] == ["messages_as_text"]


def test_another_prompt_than_the_first_user_message_is_remarked_and_the_messages_win():
    row, findings = parse(HI, HELLO, prompt="Tell me a joke")
    assert (row["prompt"], findings) == ("Hi", {"prompt_differs": "warning"})
    assert parse(HI, ("user", "there?"), HELLO, prompt="Hi")[1] == {"same_role_joined": "warning"}


def test_sharegpt_turns_are_read_once_the_column_is_mapped_and_the_hint_says_how():
    turns = [{"from": "system", "value": "Be kind."}, {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yo"}]
    row, findings = TASK.parse_row({"messages": turns})
    assert [message["role"] for message in row["messages"]] == ["system", "user", "assistant"]
    assert [finding.kind for finding in findings] == ["sharegpt_messages"]
    hint = missing_columns_message(["messages"], TASK.columns, ["id", "conversations"])
    assert "expected messages, found id, conversations. Try data.columns={messages: conversations}" in hint


def test_a_very_long_conversation_is_remarked_and_kept():
    row, findings = parse(*[(("user", "assistant")[n % 2], f"turn {n}") for n in range(2000)])
    assert len(row["messages"]) == 2000
    assert findings == {"many_messages": "warning"}


def test_two_rows_ask_the_same_if_all_before_the_last_answer_is_the_same():
    (one, _), (other, _), (more, _) = (
        parse(HI, HELLO),
        parse(("user", " hi "), ("assistant", "Bye")),
        parse(SYSTEM, HI, HELLO),
    )
    assert TASK.row_key(one) == TASK.row_key(other) != TASK.row_key(more)
    assert (TASK.row_answer(one), TASK.row_answer(other)) == ("hello", "bye")
    assert TASK.row_target(one) is None
