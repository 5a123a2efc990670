"""The task `context_qa`: answer a question from a given context, or say that the context does not answer it."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.core.metrics import best_over_references, exact_match, f1, normalize_answer
from components.core.recipe import TaskConfig
from components.core.tasks.prompt import Prompt
from components.core.tasks.qa_rows import parse_qa_row
from components.core.tasks.qa_text import Example, Renderer, encode_to_fit, first_token_from
from components.core.tasks.rendering import IGNORED_LABEL, layout, text_encoder
from components.core.tasks.seam import Encoded, EncodedPrompts, Finding, Row, Target, TargetKind


class ContextQA:
    """Question answering from a context, in the schema of SQuAD 2."""

    name = "context_qa"
    columns: Sequence[str] = ("context", "question", "answers")
    optional_columns: Sequence[str] = ("id", "title", "is_impossible")
    text_columns: Sequence[str] = columns
    target_kind: TargetKind = "answer"
    metric_names: Sequence[str] = ("f1", "exact_match")
    loss_on = ""

    def __init__(self, config: TaskConfig) -> None:
        self.config = config

    def parse_row(self, raw: Mapping[str, Any]) -> tuple[Row | None, list[Finding]]:
        """Check one raw row; an error among the findings means that there is no row."""
        return parse_qa_row(raw)

    def row_key(self, row: Row) -> str:
        """Context and question, without differences in case and whitespace."""
        return "\n".join(" ".join(str(row[name]).casefold().split()) for name in ("context", "question"))

    def row_answer(self, row: Row) -> str:
        """The answer that is trained on, normalised; "" for a row without one."""
        texts = row["answers"]["text"]
        return normalize_answer(texts[0]) if texts else ""

    def row_target(self, row: Row) -> Target:
        """None: the answer is a text."""
        return None

    def encode(self, rows: Sequence[Row], tokenizer: Any, prompt: Prompt, max_length: int, window: bool) -> Encoded:
        """Render and tokenize rows with the loss on the first answer and the end of its turn only.

        Args:
            rows: Canonical rows.
            tokenizer: A transformers tokenizer with a fast form. Without BOS none is put first, without EOS or a chat
                template's end of turn the answer just ends; no pad token is needed.
            prompt: How a row is rendered.
            max_length: Tokens per example, all included.
            window: True cuts a context that is too long to a window around the answer; False drops the row.
        """
        examples = [_example(row, prompt) for row in rows]
        encoder, lay = text_encoder(tokenizer), layout(tokenizer, prompt.chat_template)
        first_ids, last_ids = list(lay.first_ids), list(lay.last_ids)
        room = max_length - len(first_ids) - len(last_ids)
        input_ids: list[list[int]] = []
        labels: list[list[int]] = []
        fitted = encode_to_fit(examples, Renderer(prompt, lay, encoder), room, window)
        for example, encoding in zip(examples, fitted, strict=True):
            ids: list[int] = []
            hidden = 0
            if encoding is not None:
                ids = first_ids + encoder.token_ids(encoding) + last_ids
                hidden = len(first_ids) + first_token_from(encoding, example.answer_start, len(example.text))
            input_ids.append(ids)
            labels.append([IGNORED_LABEL] * hidden + ids[hidden:])
        return Encoded(input_ids, labels, [example.cut for example in examples])

    def encode_prompts(self, rows: Sequence[Row], tokenizer: Any, prompt: Prompt, max_length: int) -> EncodedPrompts:
        """Render and tokenize prompts for generation, without looking at the answers.

        A context too long is cut at its end. Where template and question alone are too long, the last `max_length`
        tokens remain.
        """
        examples = [Example(row["context"], row["question"], None, None) for row in rows]
        encoder, lay = text_encoder(tokenizer), layout(tokenizer, prompt.chat_template)
        renderer, first_ids = Renderer(prompt, lay, encoder), list(lay.first_ids)
        input_ids = []
        fitted = encode_to_fit(examples, renderer, max_length - len(first_ids), True)
        for example, encoding in zip(examples, fitted, strict=True):
            if encoding is None:
                example.keep(0, 0)
                encoding = renderer.encode([example])[0]
            input_ids.append((first_ids + encoder.token_ids(encoding))[-max_length:])
        return EncodedPrompts(input_ids, [example.cut for example in examples])

    def read_out(self, text: str, prompt: Prompt) -> str:
        """The generated text without outer whitespace; "" if it is the no-answer text, whatever its punctuation."""
        answer = text.strip()
        return "" if _letters(answer) == _letters(prompt.no_answer_text) else answer

    def score_rows(self, rows: Sequence[Row], predictions: Sequence[str | None]) -> list[dict[str, float]]:
        """Exact match and F1 of each row by the official SQuAD 2 rules; a missing prediction (None) is wrong."""
        return [
            {
                "exact_match": best_over_references(exact_match, row["answers"]["text"], prediction),
                "f1": best_over_references(f1, row["answers"]["text"], prediction),
            }
            for row, prediction in zip(rows, predictions, strict=True)
        ]


def _letters(text: str) -> str:
    """Letters and digits only, or the bare text where it has none."""
    return "".join(character for character in text.casefold() if character.isalnum()) or text


def _example(row: Row, prompt: Prompt) -> Example:
    texts, starts = row["answers"]["text"], row["answers"]["answer_start"]
    if not texts:
        return Example(row["context"], row["question"], prompt.no_answer_text, None)
    anchor = (starts[0], starts[0] + len(texts[0])) if starts[0] >= 0 else None
    return Example(row["context"], row["question"], texts[0], anchor)
