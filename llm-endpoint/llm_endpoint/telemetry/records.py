"""What telemetry holds between a request and its delivery: plain values."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

_ITEM_BYTES = 200
"""A number, or a container's share for one of its items."""
_RECORD_BYTES = 1500


@dataclass
class RunRecord:
    """One step of a request: the chain, its prompt, the model or the parser."""

    id: UUID
    parent_id: UUID | None
    name: str
    run_type: str
    """chain, prompt, llm or parser."""
    start: datetime
    inputs: Any
    end: datetime | None = None
    outputs: Any = None
    error: str | None = None
    """Type and message of the exception."""
    tags: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    """Sampling parameters of a model call."""
    usage: dict[str, Any] | None = None
    """LangChain's usage_metadata."""
    first_token: datetime | None = None
    dotted_order: str = ""
    """Start and id of every ancestor and of this run; LangSmith sorts by it."""


@dataclass
class TraceItem:
    """All runs of one request, parents before children; the first one's id is the trace id."""

    trace_id: UUID
    runs: list[RunRecord]
    metadata: dict[str, Any]
    """Of the whole request, valid for every run."""
    session_id: str | None = None
    size: int = 0
    """Bytes that it holds in memory, about."""


@dataclass
class FeedbackItem:
    """What a user thinks of an answer."""

    id: UUID
    trace_id: UUID
    created: datetime
    score: float | None = None
    comment: str | None = None
    correction: str | None = None
    size: int = 0
    """Bytes that it holds in memory, about."""


Item: TypeAlias = TraceItem | FeedbackItem


def measure(item: Item) -> int:
    """Bytes that an item holds in memory, about; a text that stands in several runs counts once."""
    seen: set[int] = set()
    if isinstance(item, FeedbackItem):
        return _RECORD_BYTES + sum(_bytes(text, seen) for text in (item.comment, item.correction))
    total = _bytes(item.metadata, seen)
    for run in item.runs:
        parts = (run.inputs, run.outputs, run.error, run.tags, run.metadata, run.parameters, run.usage)
        total += _RECORD_BYTES + sum(_bytes(part, seen) for part in parts)
    return total


def _bytes(value: Any, seen: set[int]) -> int:
    if isinstance(value, str):
        if id(value) in seen:
            return 0
        seen.add(id(value))
        return sys.getsizeof(value)
    if isinstance(value, Mapping):
        return _ITEM_BYTES + sum(_bytes(name, seen) + _bytes(inner, seen) for name, inner in value.items())
    if isinstance(value, list):
        return _ITEM_BYTES + sum(_bytes(inner, seen) for inner in value)
    return _ITEM_BYTES
