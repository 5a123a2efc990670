"""From the rows of a dataset to the prompts of a model: all before a conversation's last assistant turn."""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.core.errors import ConfigError, DataError
from components.core.responses.config import BatchInferenceConfig
from components.core.tasks import Prompt
from components.core.tasks.chat_encoding import encode_openings
from components.core.tasks.chat_layout import chat_layout
from components.core.tasks.chat_rows import Message, parse_chat_row
from components.core.tasks.rendering import layout, text_encoder

logger = logging.getLogger(__name__)

_SHOWN = 5
_PROGRESS_SECONDS = 5.0


@dataclass(frozen=True)
class Question:
    """One row."""

    messages: list[Message]
    """All before the last assistant turn."""
    target: str
    """The last assistant turn."""

    @property
    def instructions(self) -> str:
        """The prompt as text: a single user message as it is, of a longer conversation each turn under its role."""
        if len(self.messages) == 1:
            return self.messages[0]["content"]
        return "\n\n".join(f"{message['role'].capitalize()}: {message['content']}" for message in self.messages)


def read_questions(rows: Sequence[Mapping[str, Any]], where: str) -> list[Question]:
    """Check every row.

    Args:
        rows: Conversations in `messages`, or `prompt` with `response`.
        where: Dataset and split, for messages.

    Raises:
        DataError: Naming the rows that are none.
    """
    questions: list[Question] = []
    problems: list[str] = []
    remarks: Counter[str] = Counter()
    for number, raw in enumerate(rows, start=1):
        row, findings = parse_chat_row(_with_messages(raw))
        remarks.update(finding.message for finding in findings if finding.severity == "warning")
        if row is None:
            problems += [f"row {number}: {finding.message}" for finding in findings if finding.severity == "error"][:1]
            continue
        questions.append(Question(row["messages"][:-1], row["messages"][-1]["content"]))
    if problems:
        raise DataError(f"{where}: {_some(problems)}. Correct or remove these rows: every row gets an answer.")
    for remark, count in remarks.most_common(_SHOWN):
        logger.warning("%s: %d rows: %s", where, count, remark)
    return questions


def _with_messages(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    prompt, response = raw.get("prompt"), raw.get("response")
    if raw.get("messages") is not None or prompt is None or response is None:
        return raw
    return {"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]}


def encode_questions(
    questions: Sequence[Question],
    tokenizer: Any,
    prompt: Prompt,
    context_length: int,
    config: BatchInferenceConfig,
    where: str,
) -> list[list[int]]:
    """Token ids of every prompt, with the start of the assistant's turn.

    Args:
        questions: In the order of their rows.
        tokenizer: With the chat template of the prompt.
        prompt: Says whether a chat template is used.
        context_length: Tokens that the model reads, answer included.
        config: Sizes.
        where: Dataset and split, for messages.

    Raises:
        ConfigError: If `max_new_tokens` leaves no room for a prompt.
        DataError: Naming the rows that are too long, or that this model cannot be asked.
    """
    limit = context_length - config.max_new_tokens
    if limit < 1:
        raise ConfigError(
            f"max_new_tokens={config.max_new_tokens} leaves no room for a prompt: the model reads {context_length} "
            "tokens in all. Lower it."
        )
    found: list[list[int]] = []
    long: list[str] = []
    last = time.monotonic()
    for start, ids, cut in _batches(questions, tokenizer, prompt, limit, config, where):
        long += [f"row {start + place + 1}" for place, each in enumerate(cut) if each]
        found += ids
        if time.monotonic() - last >= _PROGRESS_SECONDS:
            last = time.monotonic()
            logger.info("Tokenized %d of %d rows", len(found), len(questions))
    if long and config.long_prompts == "refuse":
        raise DataError(
            f"{where}: {len(long)} prompts are longer than the {limit} tokens that max_new_tokens="
            f"{config.max_new_tokens} leaves of the model's {context_length}: {_some(long)}. Lower max_new_tokens, "
            "remove the rows, or set long_prompts=cut, which leaves out their oldest turns."
        )
    if long:
        logger.warning("%d prompts were too long and lost their oldest turns: %s", len(long), _some(long))
    return found


def _batches(
    questions: Sequence[Question],
    tokenizer: Any,
    prompt: Prompt,
    limit: int,
    config: BatchInferenceConfig,
    where: str,
) -> Iterator[tuple[int, list[list[int]], list[bool]]]:
    size = config.batch_infer_data_preprocess_bs
    for start in range(0, len(questions), size):
        batch = questions[start : start + size]
        if prompt.chat_template:
            encoded = encode_openings([each.messages for each in batch], chat_layout(tokenizer), limit)
            yield start, encoded.input_ids, encoded.cut
            continue
        ids = _plain(batch, tokenizer, start, where)
        yield start, [each[-limit:] for each in ids], [len(each) > limit for each in ids]


def _plain(batch: Sequence[Question], tokenizer: Any, start: int, where: str) -> list[list[int]]:
    """For a model without a chat template: one user message, as the endpoint reads it."""
    for place, question in enumerate(batch):
        if len(question.messages) > 1:
            raise DataError(
                f"{where}: row {start + place + 1} has {len(question.messages)} messages before the answer, and the "
                "model was trained on single prompts without a chat template. Name a model of conversations."
            )
    encoder, first = text_encoder(tokenizer), layout(tokenizer, False).first_ids
    encodings = encoder.encode([question.messages[0]["content"] for question in batch])
    return [[*first, *encoder.token_ids(encoding)] for encoding in encodings]


def _some(items: Sequence[str]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ("; " if any(":" in item for item in items) else ", ").join(items[:_SHOWN]) + more
