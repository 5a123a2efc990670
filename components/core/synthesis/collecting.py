"""What came of the calls: rows that passed, and why the others did not."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from components.core.data.contract.private import scan
from components.core.service_llm import Usage as Asked
from components.core.synthesis.asking import Call, read_example
from components.core.synthesis.config import DataGenConfig
from components.core.synthesis.copies import CopyFilter
from components.core.synthesis.rows import BadRow, ChatRow, Place
from components.core.synthesis.seeds import Seeds

COLUMNS = ("generator", "prompt_id", "seed_prompt", "messages", "category")
Reason = Literal["malformed", "duplicate", "same_prompt", "too_similar", "test_overlap", "private", "surplus"]
REASONS: dict[Reason, str] = {
    "malformed": "malformed",
    "duplicate": "duplicates",
    "same_prompt": "same prompt, other answer",
    "too_similar": "too similar",
    "test_overlap": "test overlap",
    "private": "holds a secret",
    "surplus": "more than wanted",
}
"""Why a row is left out, in words."""
_EXAMPLES = 3


@dataclass(frozen=True)
class Kept:
    """A row that passed, with its provenance."""

    row: ChatRow
    facts: dict[str, Any]

    def as_row(self) -> dict[str, Any]:
        """The row as it is written."""
        row = self.row
        values = (row.generator, row.prompt_id, row.seed_prompt, row.messages, row.category)
        return dict(zip(COLUMNS, values, strict=True))


@dataclass(frozen=True)
class Example:
    """A row that was left out, for the report."""

    reason: Reason
    message: str
    prompt: str
    """Empty where it must not be shown."""


@dataclass(frozen=True)
class Usage:
    """What was spent, earlier runs included."""

    calls: int
    requests: int
    input_tokens: int
    output_tokens: int
    cost: float
    """USD."""

    @classmethod
    def of(cls, calls: Sequence[Call], before: int, config: DataGenConfig, now: Asked) -> "Usage":
        """Of all calls in the journal, and of what this run asked beyond them: requests that failed, say.

        Args:
            calls: All of the journal.
            before: How many of them an earlier run made.
            config: The prices.
            now: What this run spent.
        """

        def total(journal: Sequence[int], this_run: int) -> int:
            return sum(journal[:before]) + max(this_run, sum(journal[before:]))

        requests = total([call.tries for call in calls], now.calls)
        spent_in = total([call.input_tokens for call in calls], now.input_tokens)
        spent_out = total([call.output_tokens for call in calls], now.output_tokens)
        cost = (spent_in * config.price_per_million_input + spent_out * config.price_per_million_output) / 1e6
        return cls(len(calls), requests, spent_in, spent_out, cost)


class Collection:
    """Takes calls in the order in which they came; the same calls always leave the same rows."""

    def __init__(self, config: DataGenConfig, seeds: Seeds, copies: CopyFilter) -> None:
        self._config, self._seeds, self._copies = config, seeds, copies
        self.kept: list[Kept] = []
        self.dropped: Counter[Reason] = Counter()
        """Examples by why they are left out."""
        self.examples: list[Example] = []
        self.calls = 0
        self.failed_calls = 0
        """Calls without a usable answer."""
        self.retries = 0
        """Malformed answers that were asked for again."""
        self.curve: list[tuple[float, float]] = [(0.0, 0.0)]
        """Rows kept by calls."""

    @property
    def missing(self) -> int:
        """Rows that are still wanted."""
        return self._config.num_samples - len(self.kept)

    @property
    def rows_per_call(self) -> float:
        """What a call brought so far; before the first what it is asked for."""
        asked = self._config.samples_per_call
        return max(len(self.kept) / self.calls, 0.2) if self.calls >= self._config.gen_workers else float(asked)

    def take(self, call: Call) -> None:
        """Check and keep the examples of a call."""
        self.calls += 1
        self.retries += max(0, call.tries - 1)
        self.failed_calls += bool(call.problem)
        rows = []
        for number, example in enumerate(call.examples, start=1):
            row = self._read(example, call, number)
            if row is not None:
                rows.append((number, row))
        for number, row in rows:
            self._judge(row, call, number)
        self.curve.append((float(self.calls), float(len(self.kept))))

    def _read(self, example: Any, call: Call, number: int) -> ChatRow | None:
        config = self._config
        seed = self._seeds.of_call(call.call)
        place = Place(f"call {call.call}", "", number)
        row = read_example(example, seed, config.label, config.topic, place)
        if isinstance(row, BadRow):
            self._drop("malformed", row.reason, "")
            return None
        secrets = [message for kind, message in scan("\n".join(m["content"] for m in row.messages)) if kind == "secret"]
        if secrets:
            self._drop("private", secrets[0].partition(";")[0], "")
            return None
        return row

    def _judge(self, row: ChatRow, call: Call, number: int) -> None:
        if self.missing <= 0:
            # not known to the filter: a run that wants more takes it then
            self._drop("surplus", "came after there were enough", row.prompt)
            return
        copy = self._copies.judge([row])[0]
        if copy is not None:
            self._drop(copy.reason, str(copy), row.prompt)
            return
        facts = {
            "prompt_id": row.prompt_id, "generator": row.generator, "seed": self._seeds.of_call(call.call).facts(),
            "call": call.call, "example": number, "date": call.date, "topic": self._config.topic,
        }  # fmt: skip
        self.kept.append(Kept(row, facts))

    def _drop(self, reason: Reason, message: str, prompt: str) -> None:
        self.dropped[reason] += 1
        if sum(example.reason == reason for example in self.examples) < _EXAMPLES:
            self.examples.append(Example(reason, message, prompt))

    def progress(self) -> str:
        """Where it stands, in one line."""
        limit = self._config.call_limit
        return (
            f"{len(self.kept):,} of {self._config.num_samples:,} rows after {self.calls:,} of at most {limit:,} calls; "
            f"left out: {self.say_dropped()}"
        )

    def say_dropped(self) -> str:
        """Why rows were left out, in words."""
        parts = [f"{self.dropped[reason]:,} {words}" for reason, words in REASONS.items() if self.dropped[reason]]
        if self.failed_calls:
            parts.append(f"{self.failed_calls:,} calls without a usable answer")
        if self.retries:
            parts.append(f"{self.retries:,} malformed answers were asked for again")
        return ", ".join(parts) or "none"
