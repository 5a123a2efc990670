"""The prompt that travels with the weights as `prompt.json`, so that training and serving cannot drift apart."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from components.core.errors import StorageError

PROMPT_FILE = "prompt.json"
_PLACEHOLDER = re.compile(r"\{(context|question)\}")


@dataclass(frozen=True)
class Prompt:
    """How a context and a question become the model's input, and what its answers look like."""

    template: str
    """Text with {context} and {question} once each."""
    chat_template: bool
    """True: the rendered text is the user's message in the tokenizer's chat template."""
    no_answer_text: str
    """The answer that means "the context does not say"."""

    def pieces(self) -> list[str]:
        """The template cut at its placeholders: text, name, text, name, text."""
        return _PLACEHOLDER.split(self.template)

    def render(self, context: str, question: str) -> str:
        """Put context and question into the template; braces inside them are plain text."""
        values = {"context": context, "question": question}
        pieces = self.pieces()
        return "".join(values[piece] if number % 2 else piece for number, piece in enumerate(pieces))


def write_prompt(prompt: Prompt, model_dir: Path) -> None:
    """Save the prompt beside the weights."""
    text = json.dumps(asdict(prompt), ensure_ascii=False, indent=2) + "\n"
    (model_dir / PROMPT_FILE).write_text(text, encoding="utf-8")


def read_prompt(model_dir: Path) -> Prompt:
    """Read the prompt of a model folder.

    Raises:
        StorageError: If the file is missing or is not a prompt; there is no silent default.
    """
    path = model_dir / PROMPT_FILE
    try:
        return Prompt(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise StorageError(f"{path} is missing or not a prompt ({error}). Write the model folder again.") from error
