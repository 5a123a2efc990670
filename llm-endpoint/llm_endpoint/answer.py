"""An answer, under way and finished."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from uuid import UUID

from llm_endpoint.engines.seam import EngineInfo, Handover, Usage
from llm_endpoint.grounding import Grounding


@dataclass(frozen=True)
class Caller:
    """Who asks, for traces."""

    protocol: str
    session_id: str | None = None
    streamed: bool = False
    """The caller sees each piece as it comes."""


@dataclass
class Answer:
    """A finished answer."""

    response: str
    trace_id: UUID
    usage: Usage
    finish_reason: str
    latency_seconds: float
    time_to_first_token_seconds: float | None
    grounding: Grounding | None
    """None for a conversation, which has no context to hold it against."""
    answered_by: tuple[EngineInfo, ...]
    """In order, the models whose words are in it; more than one only where an answer broke off and was continued."""
    fallback: str = ""
    """Why the stand-in answered; empty where it did not."""

    @property
    def info(self) -> EngineInfo:
        """The model that finished it."""
        return self.answered_by[-1]

    @property
    def sources(self) -> str:
        """`service`, `local`, or `service,local` for an answer that was continued."""
        return say_sources(self.answered_by)


def say_sources(answered_by: tuple[EngineInfo, ...]) -> str:
    """Who answered, in order."""
    return ",".join(info.source for info in answered_by)


def fingerprint(info: EngineInfo) -> str:
    """A model in one word, as OpenAI's system_fingerprint."""
    return f"{info.source}:{info.model}@{info.revision}"


@dataclass
class Stream:
    """An answer under way. Iterate `pieces`; `answer` is set when they have ended."""

    trace_id: UUID
    who: Callable[[], tuple[EngineInfo, ...]]
    """The models whose words are in it so far."""
    pieces: AsyncIterator[str | Handover] = field(init=False)
    """Text, and a handover where another model goes on."""
    answer: Answer | None = None
