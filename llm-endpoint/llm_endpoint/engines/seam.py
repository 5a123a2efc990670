"""What the endpoint asks of an engine, and what a model core must do to become one."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

FinishReason = Literal["stop", "length", "cancelled"]
Source = Literal["local", "service"]
"""Who answers: a model on this machine, or one behind another server."""

MERGE_SECONDS = 0.02
"""Tokens of this long are passed on together: the cost of a stream is per piece, not per token."""
_LONGEST_MERGE_SECONDS = 0.05
"""Text that comes twenty times a second still flows to a reader."""


def merge_seconds(streams: int) -> float:
    """How long tokens are merged while so many answers run: many answers share one event loop."""
    return min(max(MERGE_SECONDS, 0.0016 * streams), _LONGEST_MERGE_SECONDS)


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. The defaults are greedy."""

    max_new_tokens: int = 512
    do_sample: bool = False
    temperature: float = 1.0
    """Above 0; used when sampling."""
    top_p: float = 1.0
    top_k: int = 0
    """Most likely tokens that may be drawn; 0 means all."""
    repetition_penalty: float = 1.03
    """Divides the positive and multiplies the negative logits of tokens already in prompt or answer (CTRL, as
    transformers does)."""
    seed: int | None = None
    stop: tuple[str, ...] = ()
    """Texts that end the answer and are not part of it."""


@dataclass(frozen=True)
class Message:
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class GenerationRequest:
    """What is to be continued: messages, or a bare text."""

    messages: tuple[Message, ...] = ()
    text: str | None = None
    """Set instead of messages: continued as it stands, without any template."""
    sampling: Sampling = field(default_factory=Sampling)
    streamed: bool = False
    """The caller sees each piece as it comes, so that nothing that was said can be taken back."""
    stand_in: "Callable[[], GenerationRequest] | None" = None
    """The same as the model is asked that stands in; may raise InvalidInput. None: as it stands here."""
    answer_start: str = ""
    """What has been said of the answer: it is continued from there. Only a model on this machine can."""


@dataclass(frozen=True)
class Handover:
    """Another model goes on with an answer that broke off."""

    source: Source
    """Of the model that goes on."""
    reason: str
    """Why the first one broke off: cut, stalled, ..."""
    anew: bool
    """It begins anew, and what was said before is void; else it continues what was said."""


@dataclass(frozen=True)
class Delta:
    """A piece of an answer: several tokens may be merged into one."""

    text: str
    tokens: int
    """Tokens in this piece."""
    handover: Handover | None = None
    """Stands before the first piece of another model; such a piece has no text."""


@dataclass
class Usage:
    """Tokens of one request."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens whose keys and values were reused."""


class Generation(Protocol):
    """One running answer. Iterate to receive it; leaving the loop early must be followed by `cancel`."""

    @property
    def usage(self) -> Usage:
        """Tokens so far; complete at the end."""
        ...

    @property
    def finish_reason(self) -> FinishReason | None:
        """Set at the end."""
        ...

    def __aiter__(self) -> AsyncIterator[Delta]:
        """Pieces in order; the first comes at once, later ones are merged.

        Raises:
            EndpointError: If the engine or the upstream fails.
        """
        ...

    def cancel(self) -> None:
        """Stop the work; harmless when it has ended."""
        ...


@dataclass(frozen=True)
class EngineInfo:
    """What is being served."""

    engine: str
    """openvino, transformers, openai, ..."""
    model: str
    """Model id or folder name."""
    revision: str
    """Commit, version or content hash of the weights that were really loaded."""
    context_length: int | None
    """Tokens of prompt and answer together; None when an upstream does not say."""
    precision: str
    """Of the weights: fp32, bf16, int8; `remote` when an upstream decides."""
    content_sha256: str = ""
    """Of the model folder, as its manifest says; empty where there is none."""
    adapter: str = ""
    """Name by which callers ask for it, where it is an adapter that shares its base with others."""

    @property
    def source(self) -> Source:
        """Whether the model is on this machine."""
        return "service" if self.engine == "openai" else "local"

    def trace_facts(self) -> dict[str, str]:
        """What a trace says of the model, by which a registry finds it again."""
        facts = {"model": self.model, "revision": self.revision, "engine": self.engine}
        more = {"content_sha256": self.content_sha256, "adapter": self.adapter}
        return facts | {name: value for name, value in more.items() if value}


@runtime_checkable
class SharedGeneration(Protocol):
    """A running answer of one of several models."""

    answered_by: tuple[EngineInfo, ...]
    """In order, those whose words are in the answer; known from the first piece on."""
    reason: str
    """Why the stand-in answers; empty where it does not."""

    def shares(self) -> list[tuple[EngineInfo, Usage]]:
        """Tokens of each of them."""
        ...


def who_answered(engine: "Engine", generation: Generation | None) -> tuple[EngineInfo, ...]:
    """The models whose words are in an answer, in order."""
    found = generation.answered_by if isinstance(generation, SharedGeneration) else ()
    return found or (engine.info,)


class Engine(Protocol):
    """A model that answers many requests at once."""

    @property
    def info(self) -> EngineInfo:
        """What is served."""
        ...

    async def start(self) -> None:
        """Load, and answer one request to the end (warm-up).

        Raises:
            ModelError: With the remedy, if the model cannot be served.
        """
        ...

    def submit(self, request: GenerationRequest) -> Generation:
        """Take a request; never blocks.

        Raises:
            InvalidInput: If the prompt leaves no room for an answer.
            TooManyRequests: If the queue is full.
            NotReady: Before start and after stop.
        """
        ...

    def healthy(self) -> bool:
        """False once the engine cannot answer any more."""
        ...

    def load(self) -> tuple[int, int]:
        """Requests running and requests waiting."""
        ...

    async def stop(self) -> None:
        """Cancel what still runs and free the model."""
        ...


@dataclass(frozen=True)
class CoreStep:
    """What one step of a core did for one request."""

    key: int
    token_ids: tuple[int, ...]
    """New tokens in order, without the one that ended the answer."""
    finish_reason: FinishReason | None = None
    cached_tokens: int | None = None
    """Set once, with the first step of a request."""


class Core(Protocol):
    """One model on this machine. All methods are called by one thread, never two at a time."""

    name: str
    precision: str
    context_length: int
    max_running: int
    """Requests that it can hold at once."""

    def add(self, key: int, prompt_ids: Sequence[int], sampling: Sampling, stop_ids: frozenset[int]) -> None:
        """Take a request: 1 <= len(prompt_ids) and len(prompt_ids) + sampling.max_new_tokens <= context_length.

        `sampling.stop` is handled by the caller.
        """
        ...

    def step(self) -> list[CoreStep]:
        """Advance every request that is held; [] when there is none."""
        ...

    def cancel(self, key: int) -> None:
        """Forget a request and free its memory; unknown keys are ignored. No step for it follows."""
        ...

    def close(self) -> None:
        """Free the model."""
        ...
