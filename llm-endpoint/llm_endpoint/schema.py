"""What goes over HTTP (contract 2), apart from KServe's own V1 and V2 envelopes."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Text = Annotated[str, StringConstraints(max_length=4 * 2**20)]
SessionId = Annotated[str, StringConstraints(max_length=200)]
Positive = Annotated[int, Field(ge=1, le=2**20)]


class Schema(BaseModel):
    """Base: unknown keys are ignored, so that older servers take newer clients."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="ignore")


class ErrorBody(Schema):
    """Every error outside /openai/."""

    error: str
    """What went wrong and what to do."""


class OpenAIError(Schema):
    """What the OpenAI clients show."""

    message: str
    type: str
    code: int
    """HTTP status."""
    param: str | None


class OpenAIErrorBody(Schema):
    """Every error under /openai/."""

    error: OpenAIError


class SamplingFields(Schema):
    """How tokens are chosen; what is left out takes the server's defaults, which are greedy."""

    max_new_tokens: Positive | None = None
    do_sample: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=10)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, le=2**20)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.1, le=10)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None


class GenerateRequest(SamplingFields):
    """A question and the context that should answer it."""

    question: Text
    context: Text
    model: str = ""
    """Name of the adapter that answers; "" is the model itself. Where the path names one, that holds."""
    stream: bool = False
    """True: server-sent events, {"delta"} repeated, then the whole answer."""
    session_id: SessionId | None = None
    """Groups the traces of one user's session."""


class SpanBody(Schema):
    """A passage of the context."""

    start: int
    """First Unicode code point."""
    end: int
    """One past the last code point."""


class UsageBody(Schema):
    """Tokens of one answer."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    """Prompt tokens whose computation was reused."""


class AnswerBody(Schema):
    """An answer with its evidence."""

    response: str
    supported: bool
    """False: the answer is not in the context."""
    spans: list[SpanBody]
    """The passages of the context that support the answer, in order."""
    trace_id: UUID
    """Name this in /feedback."""
    model: str
    revision: str
    answered_by: str
    """`local`, `service`, or `service,local` where the local model continued what the service had begun."""
    fallback: str | None = None
    """Why the stand-in answered (away, busy, failed, slow, timeout, cut, stalled, open, full), where it did."""
    adapter: str | None = None
    """Name of the adapter that has answered, if one has."""
    usage: UsageBody
    finish_reason: str
    latency_seconds: float
    time_to_first_token_seconds: float | None


class FeedbackRequest(Schema):
    """What a user thinks of an answer."""

    trace_id: UUID
    score: Annotated[float, Field(ge=0, le=1)]
    """0 wrong, 1 right."""
    correction: Text | None = None
    """The right answer; "" says that the context does not hold it."""
    comment: Annotated[str, StringConstraints(max_length=10_000)] | None = None
    consent: bool = False
    """The question, context and answer may be kept as training data."""
    question: Text | None = None
    """With context and response: for a server that no longer remembers the answer."""
    context: Text | None = None
    response: Text | None = None


class FeedbackBody(Schema):
    """What became of the feedback."""

    stored: bool
    """Kept as a row of training data."""
    detail: str


class HealthBody(Schema):
    """How the server is."""

    status: Literal["warming", "ready", "stopping", "failed"]
    model: str
    revision: str
    engine: str
    task: str
    """What it answers, such as context_qa; empty until that is known."""
    detail: str


class AdapterBody(Schema):
    """An adapter that is loaded."""

    name: str
    """By which callers ask for it."""
    model: str
    revision: str
    seconds: float
    """That loading took, its first answer included."""


class AdapterDropped(Schema):
    """An adapter that is loaded no more."""

    name: str
    dropped: bool


class LoadAdapterRequest(Schema):
    """POST /v1/load_lora_adapter."""

    lora_name: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    lora_path: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    """Folder under the server's ADAPTERS_ROOT, as a path from there or an absolute one."""


class UnloadAdapterRequest(Schema):
    """POST /v1/unload_lora_adapter."""

    lora_name: Annotated[str, StringConstraints(min_length=1, max_length=100)]


class TaskBody(Schema):
    """What the served model does."""

    task: Literal["context_qa", "chat_completion", "single_label", "multi_label", "regression", "ner"]
    labels: list[str]
    """In the order of the model's outputs; tags for `ner`; none for a number or a text."""
    thresholds: list[float] | None
    """`multi_label`: the probability from which each label counts."""
    scale: dict[str, float] | None
    """`regression`: mean, std, minimum and maximum of the training's targets."""
    max_seq_length: int | None
    """Tokens that the model reads at once."""
    pair: bool
    """The model was trained on pairs of texts."""
    model: str
    revision: str
    engine: str
    adapters: list[AdapterBody] = []
    """What else answers here, each by its name."""


class ChatMessage(Schema):
    """One turn in the OpenAI protocol."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[dict[str, Any]]
    """Text, or a list of {"type": "text", "text": ...} parts."""


class StreamOptions(Schema):
    """Options of a streamed answer."""

    include_usage: bool = False


class OpenAISampling(Schema):
    """Sampling as OpenAI names it, with vLLM's two additions."""

    model: str = ""
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Positive | None = None
    temperature: Annotated[float, Field(ge=0, le=10)] | None = None
    """0 or absent is greedy."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, le=2**20)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.1, le=10)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    n: Literal[1] | None = None
    """Only one answer is given."""
    user: SessionId | None = None


class ChatCompletionRequest(OpenAISampling):
    """POST /openai/v1/chat/completions."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=1000)]
    max_completion_tokens: Positive | None = None


class CompletionRequest(OpenAISampling):
    """POST /openai/v1/completions."""

    prompt: Text | Annotated[list[Text], Field(min_length=1, max_length=1)]


class ScoreParameters(Schema):
    """Sampling as model servers for chat name it; others are told in the note and change nothing."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="allow")

    temperature: Annotated[float, Field(ge=0, le=10)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, le=2**20)] | None = None
    do_sample: bool | None = None
    """False is greedy, whatever the temperature."""
    max_new_tokens: Positive | None = None
    repetition_penalty: Annotated[float, Field(ge=0.1, le=10)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None


class ScoreInput(Schema):
    """A conversation and how it is continued."""

    input_string: Annotated[list[ChatMessage], Field(min_length=1, max_length=1000)]
    """Ends with the user's turn; an assistant's turn after it (the ground truth of a test row) is left out."""
    parameters: ScoreParameters | None = None


class ScoreRequest(Schema):
    """POST /score."""

    input_data: ScoreInput
    params: dict[str, Any] | None = None
    """`model` names the adapter that answers; nothing else is read from it."""


class ScoreBody(Schema):
    """A continued conversation."""

    output: str
    """The generated text."""
    note: str | None
    """What of the request was left out."""
    trace_id: UUID
    model: str
    revision: str
    answered_by: str
    """`local`, `service`, or `service,local` where the local model continued what the service had begun."""
    fallback: str | None = None
    """Why the stand-in answered (away, busy, failed, slow, timeout, cut, stalled, open, full), where it did."""
    adapter: str | None = None
    """Name of the adapter that has answered, if one has."""
    usage: UsageBody
    finish_reason: str
