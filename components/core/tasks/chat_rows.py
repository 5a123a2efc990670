"""The data contract of a conversation: what is accepted, put right and refused (docs/chat.md)."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from components.core.tasks.fields import (
    BadFieldError,
    Parser,
    check_text,
    is_null,
    missing,
    parse_fields,
    parse_id,
    parse_list,
    type_name,
)
from components.core.tasks.seam import Finding, Row

Message = dict[str, str]
"""`role` and `content`."""

ROLES = ("system", "user", "assistant")
_SHAREGPT_ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant"}
_EXPECTED = "a list of {role, content}"
_MANY_MESSAGES = 100
_TOOL_ROLES = ("tool", "function", "ipython")
_TOOL_KEYS = ("tool_calls", "function_call")


def parse_chat_row(raw: Mapping[str, Any]) -> tuple[Row | None, list[Finding]]:
    """Check one conversation and give it back in canonical form, or None and every reason why not.

    A canonical row holds at most one system message, the first, and then user and assistant in turn, from a user to an
    assistant message; `prompt` is its first user message. It passes unchanged.
    """
    parsers: dict[str, Parser] = {
        "messages": _parse_messages,
        "prompt": _parse_prompt,
        "prompt_id": parse_id,
        "id": parse_id,
    }
    values, findings = parse_fields(raw, parsers)
    if values is None:
        return None, findings
    messages: list[Message] = values["messages"]
    prompt = first_of(messages, "user")
    given = values.get("prompt")
    # of two user messages that were joined, the first is the prompt
    if given is not None and given.split() != prompt.split()[: len(given.split())]:
        findings.append(
            Finding("prompt_differs", "warning", "prompt: is not the first user message; the messages are what counts")
        )
    prompt_id = values.get("prompt_id") or hashlib.sha256(prompt.encode()).hexdigest()
    row_id = values.get("id") or values.get("prompt_id") or _content_id(messages)
    return {"id": row_id, "prompt": prompt, "prompt_id": prompt_id, "messages": messages}, findings


def first_of(messages: list[Message], role: str) -> str:
    """The first message of a role; "" where there is none."""
    return next((message["content"] for message in messages if message["role"] == role), "")


def _parse_prompt(raw: Mapping[str, Any], field: str, findings: list[Finding]) -> str | None:
    value = raw.get(field)
    return None if is_null(value) or value == "" else check_text(value, field)


def _parse_messages(raw: Mapping[str, Any], field: str, findings: list[Finding]) -> list[Message]:
    if is_null(raw.get(field)):
        raise missing(raw, field, _EXPECTED)
    items = parse_list(raw, field, _EXPECTED)
    notes = _Notes(findings)
    if isinstance(raw[field], str):
        notes.add("messages_as_text", f"{field}: is a text that holds a list; it was read as one")
    messages = [_parse_message(item, f"{field}[{number}]", notes) for number, item in enumerate(items)]
    turns = _in_turn([message for message in messages if message is not None], field, notes)
    if not any(message["role"] == "assistant" for message in turns):
        what = "is empty" if not items else "has no assistant turn after a user message"
        raise BadFieldError("no_assistant_turn", f"{field}: {what}, so there is nothing to learn")
    if len(turns) > _MANY_MESSAGES:
        notes.add(
            "many_messages",
            f"{field}: {len(turns):,} messages; the oldest turns are left out where they do not fit into "
            "tokens.max_seq_length",
        )
    return turns


def _parse_message(item: Any, field: str, notes: "_Notes") -> Message | None:
    """One message; None for a system message that says nothing."""
    if not isinstance(item, Mapping):
        raise BadFieldError("wrong_type", f"{field}: expected {{role, content}}, found {type_name(item)}")
    sharegpt = "role" not in item and "from" in item and "value" in item
    if sharegpt:
        notes.add("sharegpt_messages", f"{field}: is {{from, value}}; it was read as {{role, content}}")
    role, content = (item["from"], item["value"]) if sharegpt else (item.get("role"), item.get("content"))
    if role in _TOOL_ROLES or any(item.get(key) for key in _TOOL_KEYS):
        raise BadFieldError(
            "tool_message",
            f"{field}: tool calls and tool messages are not supported, since each chat template writes them in a way "
            "of its own; leave the row out or write the turns as text",
        )
    if sharegpt and isinstance(role, str):
        role = _SHAREGPT_ROLES.get(role, role)
    if role not in ROLES:
        found = f"`{role[:20]}`" if isinstance(role, str) else type_name(role)
        raise BadFieldError("unknown_role", f"{field}.role: expected {', '.join(ROLES)}, found {found}")
    text = check_text(content, f"{field}.content")
    if text.strip():
        return {"role": role, "content": text}
    if role == "system":
        notes.add("empty_system_left_out", f"{field}: an empty system message was left out")
        return None
    raise BadFieldError("empty_message", f"{field}.content: is empty")


def _in_turn(messages: list[Message], field: str, notes: "_Notes") -> list[Message]:
    """Messages in the order that a chat template asks for: joined, or left out at the ends."""
    turns: list[Message] = []
    for message in messages:
        role, last = message["role"], turns[-1] if turns else None
        if last is not None and last["role"] == role:
            last["content"] += f"\n\n{message['content']}"
            notes.add("same_role_joined", f"{field}: {role} messages in a row were joined by an empty line")
        elif role == "system" and turns:
            raise BadFieldError(
                "system_not_first", f"{field}: a system message stands after other turns; put it first or leave it out"
            )
        elif role == "assistant" and (last is None or last["role"] == "system"):
            notes.add(
                "assistant_first",
                f"{field}: starts with the assistant; what it says before a user does was left out",
            )
        else:
            turns.append(dict(message))
    if turns and turns[-1]["role"] == "user":
        notes.add("last_user_left_out", f"{field}: ends with a user message that nobody answers; it was left out")
        turns.pop()
    return turns


class _Notes:
    """Warnings of one row, each kind once."""

    def __init__(self, findings: list[Finding]) -> None:
        self._findings = findings

    def add(self, kind: str, message: str) -> None:
        """Remark something."""
        if all(finding.kind != kind for finding in self._findings):
            self._findings.append(Finding(kind, "warning", message))


def _content_id(messages: list[Message]) -> str:
    content = json.dumps(messages, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:24]
