"""What the server uses: one object that is cheap when tracing is off and never in the way when it is on."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from pydantic import SecretStr

from llm_endpoint.settings import Settings
from llm_endpoint.telemetry.exporter import Exporter, Limits, OnCount, Sink
from llm_endpoint.telemetry.masking import Masking
from llm_endpoint.telemetry.records import FeedbackItem, TraceItem, measure

if TYPE_CHECKING:
    from llm_endpoint.telemetry.recorder import TraceRecorder

logger = logging.getLogger(__name__)


@dataclass
class RequestTrace:
    """The trace of one request. Run the chain with `config={"run_id": trace_id, "callbacks": callbacks}`."""

    trace_id: UUID
    """Also exists when tracing is off: users give feedback by it."""
    callbacks: list[Any] = field(default_factory=list)
    """Empty when tracing is off."""
    _recorder: "TraceRecorder | None" = None
    _queue: Callable[[TraceItem], bool] | None = None

    def finish(
        self,
        error: str | None = None,
        extra: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Hand the trace over; once, at the end of the request, whatever its end was.

        Args:
            error: Why the request failed or was cancelled.
            extra: Facts for the trace: prompt_tokens, completion_tokens, cached_tokens, time_to_first_token_seconds,
                finish_reason, and others by their own names.
            metadata: Facts about the request that were not known at its start, such as the model that answered.
        """
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            recorder.metadata |= metadata or {}
        if recorder is not None and self._queue is not None:
            self._queue(recorder.finish(error, extra or {}))


class Telemetry:
    """Traces and feedback of this process."""

    def __init__(self, exporter: Exporter | None) -> None:
        """Without an exporter everything is off."""
        self._exporter = exporter

    @property
    def enabled(self) -> bool:
        """Whether anything is recorded."""
        return self._exporter is not None

    def start(self, session_id: str | None = None, metadata: Mapping[str, Any] | None = None) -> RequestTrace:
        """Begin the trace of a request.

        Args:
            session_id: Groups the requests of a conversation.
            metadata: Facts about the request, such as model and revision. Never headers.
        """
        if self._exporter is None:
            return RequestTrace(uuid4())
        from langchain_core.utils.uuid import uuid7

        from llm_endpoint.telemetry.recorder import TraceRecorder

        recorder = TraceRecorder(uuid7(), session_id, metadata or {})
        return RequestTrace(recorder.trace_id, [recorder], recorder, self._exporter.put)

    def feedback(
        self, trace_id: UUID, score: float | None = None, comment: str | None = None, correction: str | None = None
    ) -> bool:
        """Queue what a user thinks of an answer; False when tracing is off or the queue is full.

        Args:
            trace_id: Of the request that gave the answer.
            score: 0 to 1.
            comment: In the user's words.
            correction: The right answer; "" when the context has none.
        """
        if self._exporter is None:
            return False
        item = FeedbackItem(uuid4(), trace_id, datetime.now(UTC), score, comment, correction)
        item.size = measure(item)
        return self._exporter.put(item)

    def waiting(self) -> tuple[int, int]:
        """Items that wait to be sent, and their bytes."""
        return self._exporter.waiting() if self._exporter else (0, 0)

    def flush(self, deadline_seconds: float) -> bool:
        """Wait until all is sent; False if the deadline came first. Blocks: not for the event loop."""
        return self._exporter.flush(deadline_seconds) if self._exporter else True

    def close(self, deadline_seconds: float) -> None:
        """Send what waits and return at the deadline at the latest; what is left is counted as lost."""
        if self._exporter is not None:
            self._exporter.close(deadline_seconds)


def open_telemetry(settings: Settings, on_count: OnCount, limits: Limits | None = None) -> Telemetry:
    """Telemetry as the settings say; off by default, and then nothing is imported or called.

    Args:
        settings: `trace_to_mlflow` wins over `tracing`, which goes to LangSmith.
        on_count: Hears of items that were sent or lost; see `OnCount`.
        limits: Instead of those of the settings.

    Raises:
        SettingsError: If LANGSMITH_ENDPOINT is not an address, or MLflow's file cannot be used here.
    """
    open_sink: Callable[[], Sink]
    if settings.trace_to_mlflow:
        from llm_endpoint.telemetry.mlflow_sink import MlflowSink, check_installed

        check_installed(settings)
        open_sink = partial(MlflowSink, settings)
    elif settings.tracing:
        from llm_endpoint.telemetry.langsmith_sink import LangSmithSink, check_address

        check_address(settings)
        if settings.langsmith_api_key is None:
            logger.warning("Tracing is on without LANGSMITH_API_KEY; a hosted LangSmith will refuse the traces")
        open_sink = partial(LangSmithSink, settings)
    else:
        return Telemetry(None)
    masking = Masking(settings.trace_content, settings.trace_redaction, _own_secrets(settings))
    limits = limits or Limits(items=settings.trace_queue, bytes=settings.trace_queue_bytes)
    return Telemetry(Exporter(open_sink, masking, on_count, limits))


def _own_secrets(settings: Settings) -> tuple[str, ...]:
    values = (getattr(settings, name) for name in type(settings).model_fields)
    return tuple(value.get_secret_value() for value in values if isinstance(value, SecretStr))
