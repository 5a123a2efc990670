"""The prompt that travels with the weights as `prompt.json`, so that training and serving cannot drift apart."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from components.core.errors import StorageError

PROMPT_FILE = "prompt.json"
CHAT_TEMPLATE_FILE = "chat_template.jinja"
"""Where transformers keeps a tokenizer's chat template."""
_PLACEHOLDER = re.compile(r"\{(context|question)\}")


@dataclass(frozen=True)
class Prompt:
    """How a question or a conversation becomes the model's input, and what the answers look like."""

    template: str
    """Text with {context} and {question} once each; of messages the Jinja text of a plain chat template, or "" where
    the tokenizer's own is used."""
    chat_template: bool
    """True: the rendered text is the user's message in the tokenizer's chat template."""
    no_answer_text: str
    """The answer that means "the context does not say"."""
    format: Literal["question", "messages"] = "question"
    """What is rendered: a context and a question, or the messages of a conversation."""

    def pieces(self) -> list[str]:
        """The template cut at its placeholders: text, name, text, name, text."""
        return _PLACEHOLDER.split(self.template)

    def render(self, context: str, question: str) -> str:
        """Put context and question into the template; braces inside them are plain text."""
        values = {"context": context, "question": question}
        pieces = self.pieces()
        return "".join(values[piece] if number % 2 else piece for number, piece in enumerate(pieces))


def messages_prompt(template: str = "") -> Prompt:
    """The prompt of a model that continues conversations.

    Args:
        template: A plain chat template, for a tokenizer whose own is missing or not wanted.
    """
    return Prompt(template, True, "", "messages")


def set_chat_template(tokenizer: Any, prompt: Prompt) -> None:
    """Give a tokenizer the chat template that a prompt brings along, if it brings one."""
    if prompt.format == "messages" and prompt.template:
        tokenizer.chat_template = prompt.template


def write_prompt(prompt: Prompt, model_dir: Path) -> None:
    """Save the prompt beside the weights, and a chat template that it brings along where the tokenizer looks for it."""
    if prompt.format == "messages":
        content: dict[str, Any] = {"format": "messages", "chat_template": True}
        if prompt.template:
            content["template"] = prompt.template
            (model_dir / CHAT_TEMPLATE_FILE).write_text(prompt.template, encoding="utf-8")
    else:
        content = {
            "template": prompt.template,
            "chat_template": prompt.chat_template,
            "no_answer_text": prompt.no_answer_text,
        }
    (model_dir / PROMPT_FILE).write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def read_prompt(model_dir: Path) -> Prompt:
    """Read the prompt of a model folder.

    Raises:
        StorageError: If the file is missing or is not a prompt; there is no silent default.
    """
    path = model_dir / PROMPT_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("format") == "messages":
            return messages_prompt(str(content.get("template", "")))
        return Prompt(content.pop("template"), content.pop("chat_template"), content.pop("no_answer_text"), **content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise StorageError(f"{path} is missing or not a prompt ({error}). Write the model folder again.") from error
