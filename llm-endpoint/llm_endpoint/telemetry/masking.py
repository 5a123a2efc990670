"""What may leave the process: every item passes here before it is sent or written."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from llm_endpoint.redaction import Redactor
from llm_endpoint.telemetry.records import FeedbackItem, Item, RunRecord, TraceItem

_LONGEST_ERROR = 4000
_ERROR_TYPE = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,80}(?=$|:)")
_STRUCTURE = frozenset({"role", "type", "finish_reason"})
_LONGEST_KEPT = 20
_DEEPEST = 32


@dataclass(frozen=True)
class Masking:
    """How items are masked; call it with one."""

    content: bool = True
    """False replaces prompts, contexts, answers and comments by their sizes."""
    redaction: bool = True
    """Replace e-mail addresses, keys and card numbers."""
    secrets: tuple[str, ...] = ()
    """The endpoint's own keys, replaced wherever they stand, whatever the two switches say."""

    def __call__(self, item: Item) -> Item:
        """A copy that may leave."""
        mask = Redactor(self.secrets) if self.redaction else _Known(self.secrets)
        if isinstance(item, FeedbackItem):
            comment, correction = (self._content(text, mask) for text in (item.comment, item.correction))
            return replace(item, comment=comment, correction=correction)
        runs: list[RunRecord] = []
        orders: dict[UUID, str] = {}
        metadata = mask.value(_clean(item.metadata))
        session_id = None if item.session_id is None else mask.text(_clean(item.session_id))
        for run in item.runs:
            above = f"{orders[run.parent_id]}." if run.parent_id in orders else ""
            orders[run.id] = f"{above}{run.start.strftime('%Y%m%dT%H%M%S%fZ')}{run.id}"
            runs.append(
                replace(
                    run,
                    inputs=self._content(run.inputs, mask),
                    outputs=self._content(run.outputs, mask),
                    error=self._error(run.error, mask),
                    tags=mask.value(_clean(run.tags)),
                    metadata=mask.value(_clean(run.metadata)),
                    parameters=mask.value(_clean(run.parameters)),
                    dotted_order=orders[run.id],
                )
            )
        return TraceItem(item.trace_id, runs, metadata, session_id, item.size)

    def _content(self, value: Any, mask: "Redactor | _Known") -> Any:
        # also with content off: a size says nothing, but names of fields are kept
        return mask.value(_clean(value) if self.content else _sizes(value))

    def _error(self, error: str | None, mask: "Redactor | _Known") -> str | None:
        if error is None:
            return None
        if self.content:
            return mask.text(_clean(error))[:_LONGEST_ERROR]
        kind = _ERROR_TYPE.match(error)
        return kind[0] if kind else "error"


class _Known:
    """Replaces only the endpoint's own keys."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._secrets = [secret for secret in secrets if secret]

    def text(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "[KEY]")
        return text

    def value(self, value: Any) -> Any:
        return _each_text(value, self.text)


def _clean(value: Any) -> Any:
    """Halves of surrogate pairs, which no service takes, become question marks."""
    return _each_text(value, lambda text: text if text.isascii() else text.encode("utf-8", "replace").decode())


def _sizes(value: Any) -> Any:
    return _each_text(value, lambda text: f"[{len(text)} characters]", _STRUCTURE)


def _each_text(value: Any, change: Callable[[str], str], keep: frozenset[str] = frozenset(), depth: int = 0) -> Any:
    """Every text in dicts and lists changed, but for short ones under a name in `keep`."""
    if isinstance(value, str):
        return change(value)
    if depth >= _DEEPEST:
        return "[too deep]"
    if isinstance(value, Mapping):
        return {
            name: inner
            if name in keep and isinstance(inner, str) and len(inner) < _LONGEST_KEPT
            else _each_text(inner, change, keep, depth + 1)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_each_text(inner, change, keep, depth + 1) for inner in value]
    return value
