"""What the endpoint says over HTTP, as the page understands it."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


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
    answered_by: str = ""
    """`service`, `local`, or both with a comma; empty from endpoints that do not say."""
    fallback: str = ""
    """Why a stand-in answered; empty where none did."""
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
    task: str = ""
    """What the model does; empty where it is not known yet, and from endpoints that answer questions only."""
    detail: str = ""


class Scale(Message):
    """The numbers that a regression learned from."""

    mean: float
    minimum: float
    maximum: float


class Task(Message):
    """What the served model does."""

    task: str
    """context_qa, chat_completion, single_label, multi_label, regression or ner."""
    labels: tuple[str, ...] = ()
    """In the model's order; tags for ner."""
    thresholds: tuple[float, ...] | None = None
    """multi_label: the probability from which each label counts."""
    scale: Scale | None = None
    max_seq_length: int | None = None
    """Tokens that are read of a text."""
    pair: bool = False
    """The model compares two texts."""
    model: str = ""
    revision: str = ""
    name: str = "llm-api"
    """In the endpoint's addresses."""


class Entity(Message):
    """A name that was found: start <= position < end in code points of the text that was sent."""

    type: str
    text: str
    start: int
    end: int
    score: float
    """Probability, 0 to 1."""


class Prediction(Message):
    """What the model says of one text; each task fills its own fields."""

    label: str = ""
    score: float | None = None
    labels: tuple[str, ...] = ()
    probabilities: dict[str, float] = {}
    value: float | None = None
    entities: tuple[Entity, ...] = ()
    cut: bool = False
    """The text was longer than the model reads."""


class Predictions(Message):
    """One prediction for each text, in order."""

    predictions: tuple[Prediction, ...]
    model: str = ""
    revision: str = ""
    trace_id: str | None = None


class Turn(Message):
    """What the model says in a conversation."""

    content: str


class Choice(Message):
    """One way to go on."""

    message: Turn


class Completion(Message):
    """The next turn of a conversation, in OpenAI's shape."""

    choices: Annotated[tuple[Choice, ...], Field(min_length=1)]


class ModelNames(Message):
    """Names in the endpoint's addresses."""

    models: tuple[str, ...] = ()


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
