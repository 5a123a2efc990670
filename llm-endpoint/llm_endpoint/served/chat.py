"""The tokenizer's chat template, rendered by transformers' own sandboxed Jinja environment."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from llm_endpoint.errors import InvalidInput, ModelError

_PROBE = "probe7d1c"


@dataclass(frozen=True)
class ChatTemplate:
    """How a conversation is written for one tokenizer."""

    source: str
    """Jinja text."""
    special_tokens: dict[str, str]
    """bos_token, eos_token, ... by name."""

    def render(self, messages: Sequence[dict[str, str]], generation: bool) -> str:
        """Write messages; `generation` adds the start of the assistant's turn.

        Raises:
            InvalidInput: If the template refuses this order of roles.
        """
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template

        try:
            texts, _ = render_jinja_template(
                conversations=[list(messages)],
                chat_template=self.source,
                add_generation_prompt=generation,
                **self.special_tokens,
            )
        except (TemplateError, ValueError, TypeError) as error:
            roles = ", ".join(message["role"] for message in messages)
            raise InvalidInput(f"the model's chat template refuses the messages ({roles}): {error}.") from error
        return str(texts[0])

    @cached_property
    def stripped_roles(self) -> frozenset[str]:
        """Roles around whose messages the template strips whitespace."""
        return frozenset(role for role in ("system", "user", "assistant") if self._strips(role))

    @cached_property
    def folds_system(self) -> bool:
        """Whether the template knows no system message, or leaves it out."""
        try:
            text = self.render([{"role": "system", "content": _PROBE}, {"role": "user", "content": "x"}], True)
        except InvalidInput:
            return True
        return _PROBE not in text

    def _strips(self, role: str) -> bool:
        before = ["user"] if role == "assistant" else []
        after = [] if role == "user" else ["user"]
        messages = [{"role": each, "content": "x"} for each in (*before, role, *after)]
        # a tab, since templates themselves write spaces and line breaks around messages
        messages[len(before)]["content"] = spaced = f"\t{_PROBE}\t"
        return (role != "system" or not self.folds_system) and spaced not in self.render(messages, True)


def read_chat_template(folder: Path) -> ChatTemplate:
    """Read the chat template of a folder.

    Raises:
        ModelError: If the folder has none.
    """
    path = folder / "tokenizer_config.json"
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    file = folder / "chat_template.jinja"
    source = file.read_text(encoding="utf-8") if file.is_file() else config.get("chat_template")
    if isinstance(source, list):
        source = next((entry["template"] for entry in source if entry.get("name") == "default"), None)
    if not source:
        raise ModelError(f"{folder} has no chat template, which its prompt.json asks for. Publish the model again.")
    special = {
        name: str(value.get("content") if isinstance(value, dict) else value)
        for name, value in config.items()
        if name.endswith("_token") and isinstance(value, str | dict)
    }
    return ChatTemplate(source, special)
