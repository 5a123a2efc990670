"""What users taught with their consent, as conversations that the model can be trained on."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.core.data.contract.private import scan
from components.core.errors import ConfigError, DataError
from components.core.recipe import ModelConfig, TaskConfig
from components.core.registry.base_model import resolve_tokenizer
from components.core.registry.registered_base import served_model
from components.core.settings import Settings
from components.core.synthesis.rows import BadRow, ChatRow, Place, parse_row
from components.core.tasks import Prompt, read_prompt
from components.core.tasks.prompt import PROMPT_FILE
from components.core.tasks.qa_rows import parse_qa_row

CATEGORY = "feedback"
_MARKS = ("[EMAIL]", "[KEY]", "[CARD]", "[IBAN]")
"""What the endpoint writes in place of private things."""
_CARD = re.compile(r"(?<![\d.,-])(?:\d[ -]?){12,18}\d(?![\d.,-]?\d)")


def feedback_prompt(model: str | None, settings: Settings) -> Prompt:
    """The prompt of a model, or the default template; of a model that takes messages the default, too.

    Raises:
        StorageError: If the model's folder has no prompt.
        RegistryError: If it is not registered.
        ConfigError: If it is neither a folder nor a registered model.
    """
    default = TaskConfig()
    if model is None:
        return Prompt(default.prompt_template, True, default.no_answer_text)
    folder = Path(served_model(model, settings)).expanduser()
    if not folder.is_dir():
        if "/" not in model or folder.is_absolute():
            raise ConfigError(
                f"feedback_model={model} is no folder. Name a model folder, NAME@VERSION, or a model of the Hub."
            )
        model_id, _, revision = str(folder).partition("@")
        folder = resolve_tokenizer(ModelConfig(model_id=model_id, revision=revision or None), settings).path
        if not (folder / PROMPT_FILE).is_file():
            return Prompt(default.prompt_template, True, default.no_answer_text)
    return read_prompt(folder)


def parse_feedback(raw_rows: Sequence[Mapping[str, Any]], file: Path, prompt: Prompt) -> Iterator[ChatRow | BadRow]:
    """Each row of the endpoint's feedback file, or any conversation, as a chat row; or why it is none.

    A row that holds what looks like an e-mail address, a key or a card number is refused: the endpoint replaces them
    before it writes, so such a row comes from elsewhere.
    """
    if prompt.format == "messages":
        default = TaskConfig()
        prompt = Prompt(default.prompt_template, True, default.no_answer_text)
    for number, raw in enumerate(raw_rows, start=1):
        place = Place(file.name, "", number)
        private = find_private(" \n".join(_texts(raw)))
        if private:
            yield BadRow(place, f"{private}; remove it and merge again", "private")
        else:
            yield _convert(raw, place, prompt)


def find_private(text: str) -> str:
    """What private thing a text holds; "" where none is seen."""
    for _, message in scan(text):
        return message.partition(";")[0]
    if any(_is_card(re.sub(r"\D", "", found[0])) for found in _CARD.finditer(text)):
        return "holds what looks like a card number"
    return ""


def _convert(raw: Mapping[str, Any], place: Place, prompt: Prompt) -> ChatRow | BadRow:
    trace = raw.get("trace_id")
    facts = {"category": CATEGORY, "source": f"{place.dataset}#{place.row}" + (f" trace {trace}" if trace else "")}
    if "messages" in raw:
        return parse_row({**raw, **facts}, place)
    row, findings = parse_qa_row(raw)
    if row is None:
        return BadRow(place, "; ".join(finding.message for finding in findings if finding.severity == "error"))
    texts = row["answers"]["text"]
    messages = [
        {"role": "user", "content": prompt.render(row["context"], row["question"])},
        {"role": "assistant", "content": texts[0] if texts else prompt.no_answer_text},
    ]
    if any(mark in messages[1]["content"] for mark in _MARKS):
        return BadRow(place, "its answer was redacted: it would teach the mark", "private")
    return parse_row({"messages": messages, "prompt_id": row["id"], **facts}, place)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if name != "trace_id":
                yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _is_card(digits: str) -> bool:
    """Luhn's check over 13 to 19 digits that do not all agree."""
    doubled = [int(digit) * (1 + number % 2) for number, digit in enumerate(reversed(digits))]
    return len(set(digits)) > 1 and sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def check_file(file: Path) -> None:
    """Raise DataError unless the feedback file is there."""
    if not file.expanduser().is_file():
        raise DataError(
            f"there is no {file}. The endpoint writes it at the first feedback with consent "
            "(WHETSTONE_HOME/feedback.jsonl, or FEEDBACK_FILE)."
        )
