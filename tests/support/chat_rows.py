"""Small conversations for the tests of the tools of the loop."""

from typing import Any

from components.core.synthesis.rows import ChatRow, Place, parse_row


def raw_row(prompt: str, answer: str = "Yes.", **columns: Any) -> dict[str, Any]:
    """A row of a (prompt, response) dataset."""
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return {"prompt": prompt, "prompt_id": f"id of {prompt}"[:40], "messages": messages, "category": "Test"} | columns


def chat_row(
    prompt: str, answer: str = "Yes.", *, number: int = 1, dataset: str = "set", split: str = "train_sft"
) -> ChatRow:
    """The same, parsed."""
    row = parse_row(raw_row(prompt, answer), Place(dataset, split, number))
    assert isinstance(row, ChatRow)
    return row
