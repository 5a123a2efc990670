"""The prompt that travels with the weights, and the one for models that bring none."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from llm_endpoint.errors import ModelError

PROMPT_FILE = "prompt.json"
_PLACEHOLDER = re.compile(r"\{(context|question)\}")
_REMEDY = "Publish the model folder again."


@dataclass(frozen=True)
class Prompt:
    """How a context and a question become the model's input, and what its answers look like."""

    template: str
    """Text with {context} and {question} once each."""
    chat_template: bool
    """True: the rendered text is the user's message in the tokenizer's chat template."""
    no_answer_text: str
    """The answer that means "the context does not say"."""

    def __post_init__(self) -> None:
        if sorted(_PLACEHOLDER.findall(self.template)) != ["context", "question"]:
            raise ModelError(f"the prompt template must hold {{context}} and {{question}} once each. {_REMEDY}")

    def fixed_pieces(self) -> list[str]:
        """The template's own text, without the placeholders: three pieces."""
        return _PLACEHOLDER.split(self.template)[::2]

    def placeholders(self) -> list[str]:
        """`context` and `question` in the template's order."""
        return _PLACEHOLDER.findall(self.template)

    def is_no_answer(self, answer: str) -> bool:
        """Whether an answer is the no-answer text, whatever its case and punctuation."""
        return not answer.strip() or _letters(answer) == _letters(self.no_answer_text)


STANDARD_PROMPT = Prompt("Context: {context}\nQuestion: {question}\nAnswer:", True, "not in the context")
"""For a model that is no model folder of ours; in its chat template where it has one."""

INSTRUCTION_PROMPT = Prompt(
    "Answer the question from the context only, in as few words as possible and in the words of the context. "
    "If the context does not hold the answer, reply exactly: not in the context\n\n"
    "Context: {context}\n\nQuestion: {question}",
    True,
    "not in the context",
)
"""For a general chat model behind an OpenAI-compatible server."""


def read_prompt(folder: Path) -> Prompt:
    """Read prompt.json.

    Raises:
        ModelError: If it is missing or not a prompt; there is no silent default.
    """
    path = folder / PROMPT_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        # a model of conversations takes a question about a context as one user message
        return INSTRUCTION_PROMPT if content.get("format") == "messages" else Prompt(**content)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} is missing or not a prompt ({error}). {_REMEDY}") from error


def _letters(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum()) or text
