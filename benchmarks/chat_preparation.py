"""Conversations to masked, packed Arrow: ours against TRL's own preparation, in turns within one run.

    python -m benchmarks.chat_preparation [--rows 4000] [--repeats 3]

Rows of several turns, the loss on every assistant turn (`assistant_only_loss`), a chat template that says what is
generated. Both read JSON lines and end with Arrow on disk; ours also checks every row and writes its report. The
unpacked ids and labels of both are compared row by row, and those of the first rows with what the chat template itself
says. On a machine that others use processor time is the figure to trust; the medians of all turns count.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.data_preparation import MAX_LENGTH, WARM_UP_ROWS, Bench, copy_model, measure, report, write_lines
from benchmarks.fixed_answer import ROOT, STARTER
from components.core.recipe import TaskConfig
from components.core.registry.base_model import read_tokenizer
from components.core.tasks import get_generative_task
from components.core.tasks.rendering import build_prompt

DATA = ROOT.parent / "shared" / "data"
RESULT = ROOT / "benchmarks" / "results" / "chat_preparation.json"
TURNS = ("<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['role'] == 'assistant' %}{% generation %}"
    "{{ m['content'] + '<|im_end|>' }}{% endgeneration %}{% else %}{{ m['content'] + '<|im_end|>' }}{% endif %}"
    "{{ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def source_rows() -> list[dict[str, Any]]:
    """Conversations where they are on this machine, else the starter's questions as such, two to a row."""
    files = [DATA / name / "train.jsonl" for name in ("chat_k8s", "chat_oasst", "chat_instructions")]
    found = [json.loads(line) for path in files if path.is_file() for line in path.open(encoding="utf-8")]
    if found:
        return found
    rows = [json.loads(line) for line in (STARTER.parent / "data" / "train.jsonl").open(encoding="utf-8")]
    return [{"messages": _asked(first) + _asked(second)} for first, second in zip(rows[::2], rows[1::2], strict=False)]


def _asked(row: dict[str, Any]) -> list[dict[str, str]]:
    answer = (row["answers"]["text"] or ["It does not say."])[0]
    question = f"{row['context']}\n\n{row['question']}"
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def distinct_rows(rows: list[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    """Repeat rows, each time with another end of its first message."""
    for number in range(count):
        first, *others = rows[number % len(rows)]["messages"]
        yield {"messages": [first | {"content": f"{first['content']} ({number})"}, *others]}


class ChatBench(Bench):
    """The rows of both sides, which are the same messages."""

    def __init__(self, place: Path, count: int) -> None:
        self.place, self.runs = place, 0
        copy_model(STARTER, place / "model")
        tokenizer = read_tokenizer(place / "model")
        tokenizer.add_special_tokens({"additional_special_tokens": list(TURNS)})
        tokenizer.chat_template = TEMPLATE
        tokenizer.save_pretrained(place / "model")
        self.tokenizer = read_tokenizer(place / "model")
        self.task = TaskConfig(name="chat_completion")
        task, prompt = get_generative_task(self.task), build_prompt(self.task, self.tokenizer)
        parsed = (task.parse_row(raw)[0] for raw in distinct_rows(source_rows(), count))
        rows = [row for row in parsed if row is not None]
        self.rows = []
        for start in range(0, len(rows), 1000):
            batch = rows[start : start + 1000]
            encoded = task.encode(batch, self.tokenizer, prompt, MAX_LENGTH, window=False)
            self.rows += [row for row, ids in zip(batch, encoded.input_ids, strict=True) if ids]
        self.check_masks(task, prompt)
        for name, size in (("warm", WARM_UP_ROWS), ("full", len(self.rows))):
            (place / name).mkdir()
            write_lines(place / name / "train.jsonl", self.rows[:size])
            write_lines(place / name / "validation.jsonl", self.rows[:1])
            write_lines(place / name / "test.jsonl", self.rows[:1])
            write_lines(place / f"{name}_messages.jsonl", [{"messages": row["messages"]} for row in self.rows[:size]])

    def check_masks(self, task: Any, prompt: Any) -> None:
        """Raise unless ids and masks of the first rows are the chat template's own."""
        rows = self.rows[:WARM_UP_ROWS]
        found = task.encode(rows, self.tokenizer, prompt, MAX_LENGTH, window=False)
        for row, ids, labels in zip(rows, found.input_ids, found.labels, strict=True):
            expected = self.tokenizer.apply_chat_template(
                row["messages"], return_dict=True, return_assistant_tokens_mask=True
            )
            mask = [int(label != -100) for label in labels]
            if (ids, mask) != (expected["input_ids"], expected["assistant_masks"]):
                raise SystemExit(f"error: ids or mask of {row['id']} are not those of the chat template")

    def theirs(self, name: str, processes: int | None) -> Any:
        """What TRL makes of the conversations."""
        return self.with_trl(f"{name}_messages.jsonl", processes, False, assistant_only_loss=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Preparation of conversations, ours against TRL's.")
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        bench = ChatBench(Path(place), arguments.rows)
        turns = sum(len(row["messages"]) for row in bench.rows) / len(bench.rows)
        result = measure(bench, arguments.repeats)
    return report({"tokenizer": "starter", "messages_per_row": round(turns, 2)} | result, RESULT)


if __name__ == "__main__":
    sys.exit(main())
