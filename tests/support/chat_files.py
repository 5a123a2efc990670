"""Conversations of several turns for a tiny model, and a chat template that says what is generated."""

import json
from pathlib import Path

CHATML = (
    "{% for m in messages %}{{ m['role'] }}:\n{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}<turn>"
    "{% endgeneration %}{% else %}{{ m['content'] }}<turn>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}assistant:\n{% endif %}"
)


def write_conversations(path: Path, rows: int) -> None:
    """One to three questions each, one row in three with a system message."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            turns = [("system", "Be brief.")] if number % 3 == 0 else []
            for turn in range(1, number % 3 + 2):
                turns += [("user", f"What is {turn} times {number}?"), ("assistant", f"It is {turn * number}.")]
            messages = [{"role": role, "content": text} for role, text in turns]
            file.write(json.dumps({"messages": messages}) + "\n")
