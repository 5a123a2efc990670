"""Broken conversations of a published collection: refused by name, or accepted and counted (docs/chat.md)."""

import json
from pathlib import Path

import pytest
from support.bad_inputs import REFUSED_BY_ALL, published_cases, unpack

from components.core.data import prepare_dataset
from components.core.data.tokens import tokenize_dataset
from components.core.errors import PlatformError
from components.core.recipe import DataConfig, ModelConfig, TaskConfig, TokensConfig
from components.core.settings import Settings

TASK = TaskConfig(name="chat_completion")
REFUSED = {
    # part of the message; a case that is not listed must be accepted
    **REFUSED_BY_ALL,
    "chat_sharegpt_schema.jsonl": r"column messages is missing; expected messages, found id, conversations\. "
    r"Try data\.columns=\{messages: conversations\}",
    "chat_no_assistant.jsonl": "(?=.*:1: messages: has no assistant)(?=.*all 3 rows are bad)(?=.*:3: .* is empty)",
    "chat_tool_role.jsonl": r"chat_tool_role\.jsonl:1: messages\[1\]: tool calls and tool messages are not supported",
}
REMARKED = {
    # findings of an accepted case, with their counts
    "chat_assistant_first.jsonl": {"assistant_first": 1},
    "chat_two_users_in_a_row.jsonl": {"same_role_joined": 3},
    "chat_messages_as_string.jsonl": {"messages_as_text": 1},
    "chat_prompt_differs.jsonl": {"prompt_differs": 1},
    "chat_2000_turns.jsonl": {"many_messages": 1},
}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The collection on disk."""
    return unpack(tmp_path_factory.mktemp("bad_inputs"))


def good(number):
    turns = [("user", f"What is number {number}?"), ("assistant", f"It is {number * 7}.")]
    return json.dumps({"messages": [{"role": role, "content": text} for role, text in turns]}) + "\n"


def absent(cases):
    return cases or [pytest.param(None, marks=pytest.mark.skip(reason="the collection of broken inputs is not here"))]


@pytest.mark.parametrize(
    "case", absent(published_cases(("any", "chat"))), ids=lambda case: case["file"] if case else "absent"
)
def test_published_input(unpacked, tmp_path, case):
    name, settings = case["file"], Settings(whetstone_home=tmp_path / "home")
    if name in REFUSED:
        # tool messages are no error of the user; the rule is to leave such rows out by name
        assert case["outcome"] == "reject" or name == "chat_tool_role.jsonl"
        with pytest.raises(PlatformError, match=REFUSED[name]):
            prepare_dataset(DataConfig(dataset_id=str(unpacked / name)), TASK, tmp_path / "out", settings)
        return
    assert case["outcome"] == "accept_with_warning"
    # as the train split of a folder: most hold too few rows to cut validation and test out of them
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / f"train{Path(name).suffix}").write_bytes((unpacked / name).read_bytes())
    (folder / "validation.jsonl").write_text(good(1))
    (folder / "test.jsonl").write_text(good(2))
    report = prepare_dataset(DataConfig(dataset_id=str(folder)), TASK, tmp_path / "out", settings)
    assert report.errors == 0
    assert report.rows["train"] == report.rows_read["train"] > 0
    assert {finding.kind: finding.count for finding in report.findings}.items() >= REMARKED[name].items()
    tokens = tokenize_dataset(TASK, ModelConfig(), TokensConfig(), tmp_path / "out", tmp_path / "tokens", settings)
    assert tokens.splits["train"]["kept"] == report.rows["train"]
    assert tokens.splits["train"]["cut"] == (1 if name == "chat_2000_turns.jsonl" else tokens.splits["train"]["cut"])


def test_rows_with_tool_messages_are_left_out_and_counted_on_request(tmp_path):
    tool = {"messages": [{"role": "user", "content": "a"}, {"role": "tool", "content": "b"}]}
    (tmp_path / "a.jsonl").write_text("".join(map(good, range(5))) + json.dumps(tool) + "\n")
    data = DataConfig(dataset_id=str(tmp_path / "a.jsonl"), on_bad_row="drop")
    report = prepare_dataset(data, TASK, tmp_path / "out", Settings())
    assert (sum(report.rows.values()), report.dropped, report.count("tool_message")) == (5, {"bad row": 1}, 1)
