"""The task `chat_completion`: continue a conversation as the assistant."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.core.metrics import exact_match, f1, normalize_answer
from components.core.recipe import TaskConfig
from components.core.tasks.chat_encoding import encode_conversations, encode_openings
from components.core.tasks.chat_layout import chat_layout
from components.core.tasks.chat_rows import parse_chat_row
from components.core.tasks.prompt import Prompt
from components.core.tasks.seam import Encoded, EncodedPrompts, Finding, Row, Target, TargetKind


class ChatCompletion:
    """Conversations of user and assistant, with or without a system message."""

    name = "chat_completion"
    columns: Sequence[str] = ("messages",)
    optional_columns: Sequence[str] = ("prompt", "prompt_id", "id")
    text_columns: Sequence[str] = ("prompt", "messages")
    target_kind: TargetKind = "answer"
    metric_names: Sequence[str] = ("f1", "exact_match")

    def __init__(self, config: TaskConfig) -> None:
        self.config = config
        self.loss_on = "the last assistant turn" if config.assistant_turns == "last" else "all assistant turns"

    def parse_row(self, raw: Mapping[str, Any]) -> tuple[Row | None, list[Finding]]:
        """Check one raw row; an error among the findings means that there is no row."""
        return parse_chat_row(raw)

    def row_key(self, row: Row) -> str:
        """All messages before the last answer, one a line, without differences in case and whitespace."""
        return "\n".join(" ".join(message["content"].casefold().split()) for message in row["messages"][:-1])

    def row_answer(self, row: Row) -> str:
        """The last answer, normalised."""
        return normalize_answer(row["messages"][-1]["content"])

    def row_target(self, row: Row) -> Target:
        """None: the answer is a text."""
        return None

    def encode(self, rows: Sequence[Row], tokenizer: Any, prompt: Prompt, max_length: int, window: bool) -> Encoded:
        """Render and tokenize conversations with the loss on the assistant's turns, each with its end.

        Args:
            rows: Canonical rows.
            tokenizer: A transformers tokenizer with a fast form and a chat template.
            prompt: Says that rows are messages; the tokenizer's chat template renders them.
            max_length: Tokens per example, all included.
            window: True leaves the oldest turns of a conversation out that is too long, and the end of its last answer
                where that alone is; False drops the row.
        """
        conversations = [row["messages"] for row in rows]
        last_only = self.config.assistant_turns == "last"
        return encode_conversations(conversations, chat_layout(tokenizer), max_length, last_only, window)

    def encode_prompts(self, rows: Sequence[Row], tokenizer: Any, prompt: Prompt, max_length: int) -> EncodedPrompts:
        """Render and tokenize what stands before the last answer, with the generation prompt."""
        return encode_openings([row["messages"][:-1] for row in rows], chat_layout(tokenizer), max_length)

    def read_out(self, text: str, prompt: Prompt) -> str:
        """The generated text without outer whitespace."""
        return text.strip()

    def score_rows(self, rows: Sequence[Row], predictions: Sequence[str | None]) -> list[dict[str, float]]:
        """Token F1 and exact match of the last answer, with SQuAD's normalisation; a missing prediction is wrong."""
        answers = [row["messages"][-1]["content"] for row in rows]
        return [
            {
                "f1": 0.0 if said is None else f1(answer, said),
                "exact_match": 0.0 if said is None else float(exact_match(answer, said)),
            }
            for answer, said in zip(answers, predictions, strict=True)
        ]
