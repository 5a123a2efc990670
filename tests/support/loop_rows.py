"""Reference rows of a loop for tests: invented orders and how the service LLM answers about them."""

import json
import random
from pathlib import Path

from support.loop_service import invented_name

_ASKED = (
    "This is {name}. Where is my order {number}?",
    "{name} here. When does order {number} come?",
    "I am {name} and I miss order {number}.",
    "Hello, {name} speaking. What about order {number}?",
)


def write_reference(folder: Path, train: int, test: int, seed: int = 7) -> Path:
    """Write `train_sft.jsonl` and `test_sft.jsonl`; no name or number stands in both."""
    folder.mkdir(parents=True, exist_ok=True)
    source = random.Random(seed)
    rows = [_row(number, source) for number in random.Random(seed + 1).sample(range(1000, 9999), train + test)]
    for split, part in (("train_sft", rows[:train]), ("test_sft", rows[train:])):
        text = "".join(json.dumps(row) + "\n" for row in part)
        (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")
    return folder


def _row(number: int, source: random.Random) -> dict[str, object]:
    name = invented_name(source)
    asked = source.choice(_ASKED).format(name=name, number=number)
    answer = f"Dear {name}, your order {number} is on its way."
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return {"prompt": asked, "prompt_id": str(number), "messages": messages, "category": "orders"}
