"""What the endpoint says over HTTP, as the page understands it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """Frozen; fields that a newer endpoint adds are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class Span(Message):
    """A part of the context, in Unicode code points: start <= position < end."""

    start: int
    end: int


class Usage(Message):
    """Tokens of one answer."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens that were reused from an earlier question."""


class Answer(Message):
    """A complete answer."""

    response: str
    supported: bool = False
    """False: the context does not hold the answer."""
    spans: tuple[Span, ...] = ()
    trace_id: str | None = None
    """Names the answer in feedback."""
    model: str = ""
    revision: str = ""
    usage: Usage = Usage()
    latency_seconds: float | None = None
    time_to_first_token_seconds: float | None = None


class Health(Message):
    """How the endpoint is."""

    status: Literal["ready", "warming", "stopping", "failed", "unreachable"]
    """`unreachable` is the page's own word."""
    model: str = ""
    revision: str = ""
    engine: str = ""
    detail: str = ""


class Feedback(Message):
    """What a reader thinks of an answer."""

    trace_id: str
    score: float
    """0 (wrong) to 1 (right)."""
    correction: str | None
    comment: str | None
    consent: bool
    """May be used to train the model."""
    question: str
    context: str
    response: str


class Receipt(Message):
    """What became of a feedback."""

    stored: bool = False
    """Kept as a training example."""
    detail: str = ""
