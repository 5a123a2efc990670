"""Traces and feedback to MLflow: a server, or the SQLite file that `make mlflow` shows."""

import json
import logging
import os
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import UUID

from llm_endpoint.errors import SettingsError
from llm_endpoint.settings import Settings
from llm_endpoint.telemetry.exporter import SendError
from llm_endpoint.telemetry.records import FeedbackItem, Item, RunRecord, TraceItem

EXPERIMENT = "llm-endpoint"
_SQLITE = "sqlite:///"
_SPAN_TYPES = {"chain": "CHAIN", "prompt": "TASK", "llm": "CHAT_MODEL", "parser": "PARSER"}
_LONGEST_PREVIEW = 1000
_LONGEST_TAG = 250
_REFUSED = frozenset({400, 401, 403, 405, 413, 422})


def check_installed(settings: Settings) -> None:
    """Refuse what this image has no libraries for.

    Raises:
        SettingsError: If MLflow is missing, or what it needs for a file of its own.
    """
    if find_spec("mlflow") is None:
        raise SettingsError("TRACE_TO_MLFLOW is set, but mlflow is not installed. Unset it, or install mlflow.")
    if not _is_server(settings) and find_spec("sqlalchemy") is None:
        raise SettingsError(
            "TRACE_TO_MLFLOW is set without a server, and this image cannot write MLflow's file. "
            "Set MLFLOW_TRACKING_URI to the address of an MLflow server."
        )


def _is_server(settings: Settings) -> bool:
    return (settings.mlflow_tracking_uri or _SQLITE).startswith(("http://", "https://"))


class MlflowSink:
    """The experiment `llm-endpoint` of a tracking server or file."""

    name = "mlflow"

    def __init__(self, settings: Settings) -> None:
        """Load the library, make the tables of a fresh file, and the experiment.

        Raises:
            SendError: If the server or file cannot be used.
        """
        # read by mlflow at import or at each call: no usage data to its makers, and our own retries and patience
        for name, value in {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        }.items():
            os.environ.setdefault(name, value)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        home = settings.whetstone_home.resolve()
        uri = settings.mlflow_tracking_uri or f"{_SQLITE}{home / 'mlflow.db'}"
        with _clear_errors():
            from mlflow.tracing.client import TracingClient

            # its warnings repeat what we count, with addresses and statements in them
            logging.getLogger("mlflow").setLevel(logging.CRITICAL)
            if uri.startswith(_SQLITE):
                _make_tables(Path(uri.removeprefix(_SQLITE)))
            self._client = TracingClient(uri)
            place = (home / "mlruns").as_uri() if uri.startswith(_SQLITE) else None
            self._experiment_id = _experiment_id(uri, place)
        self._noted: deque[UUID] = deque(maxlen=256)
        """Feedback that was taken; MLflow would note it twice."""

    def send(self, items: Sequence[Item]) -> None:
        """Write a batch. A trace has its own id in MLflow too, so that writing one again adds nothing.

        Raises:
            SendError: If the server or file cannot be used.
        """
        traces = [item for item in items if isinstance(item, TraceItem)]
        with _clear_errors():
            if traces:
                spans = [_span(run, trace) for trace in traces for run in trace.runs]
                self._client.log_spans(self._experiment_id, spans)
            for trace in traces:
                self._client.start_trace(_trace_info(trace, self._experiment_id))
            for item in items:
                if isinstance(item, FeedbackItem) and item.id not in self._noted:
                    for assessment in _assessments(item):
                        self._client.log_assessment(mlflow_trace_id(item.trace_id), assessment)
                    self._noted.append(item.id)


def mlflow_trace_id(trace_id: UUID) -> str:
    """MLflow's name of a trace."""
    return f"tr-{trace_id.hex}"


def _span(run: RunRecord, trace: TraceItem) -> Any:
    from mlflow.entities import Span
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

    def context(run_id: UUID) -> Any:
        # an OpenTelemetry span has 64 bits for its id: the random ones of the run's
        return SpanContext(trace.trace_id.int, run_id.int & (2**64 - 1), False, TraceFlags(TraceFlags.SAMPLED))

    attributes = trace.metadata | run.metadata | run.parameters
    if run.tags:
        attributes["tags"] = run.tags
    attributes |= {
        "mlflow.traceRequestId": mlflow_trace_id(trace.trace_id),
        "mlflow.spanType": _SPAN_TYPES.get(run.run_type, "UNKNOWN"),
        "mlflow.spanInputs": run.inputs,
        "mlflow.spanOutputs": run.outputs,
    }
    if run.usage is not None:
        cached = run.usage.get("input_token_details", {}).get("cache_read")
        counts = {name: run.usage.get(name) for name in ("input_tokens", "output_tokens", "total_tokens")}
        attributes["mlflow.chat.tokenUsage"] = counts | ({"cache_read_input_tokens": cached} if cached else {})
    # MLflow reads the attributes of an event as a dictionary, also where there are none
    events = [Event("new_token", {}, _nanoseconds(run.first_token))] if run.first_token else []
    return Span(
        ReadableSpan(
            run.name,
            context(run.id),
            parent=context(run.parent_id) if run.parent_id else None,
            attributes={name: json.dumps(value) for name, value in attributes.items()},
            events=events,
            status=Status(StatusCode.ERROR, run.error) if run.error else Status(StatusCode.OK),
            start_time=_nanoseconds(run.start),
            end_time=_nanoseconds(run.end or run.start),
        )
    )


def _trace_info(trace: TraceItem, experiment_id: str) -> Any:
    from mlflow.entities import TraceInfo, TraceLocation, TraceState
    from mlflow.tracing.constant import TraceMetadataKey, TraceTagKey

    root = trace.runs[0]
    usage = next((run.usage for run in trace.runs if run.usage), None)
    metadata = {name: str(value)[:_LONGEST_TAG] for name, value in trace.metadata.items()}
    if trace.session_id is not None:
        metadata[TraceMetadataKey.TRACE_SESSION] = trace.session_id[:_LONGEST_TAG]
    if usage is not None:
        counts = {name: usage.get(name) for name in ("input_tokens", "output_tokens", "total_tokens")}
        metadata[TraceMetadataKey.TOKEN_USAGE] = json.dumps(counts)
    return TraceInfo(
        trace_id=mlflow_trace_id(trace.trace_id),
        trace_location=TraceLocation.from_experiment_id(experiment_id),
        request_time=_nanoseconds(root.start) // 10**6,
        execution_duration=(_nanoseconds(root.end or root.start) - _nanoseconds(root.start)) // 10**6,
        state=TraceState.ERROR if root.error else TraceState.OK,
        request_preview=json.dumps(root.inputs, ensure_ascii=False)[:_LONGEST_PREVIEW],
        response_preview=json.dumps(root.outputs, ensure_ascii=False)[:_LONGEST_PREVIEW],
        client_request_id=str(trace.trace_id),
        trace_metadata=metadata,
        tags={TraceTagKey.TRACE_NAME: root.name},
    )


def _assessments(item: FeedbackItem) -> list[Any]:
    from mlflow.entities import AssessmentSource, Expectation, Feedback

    source = AssessmentSource(source_type="HUMAN", source_id="user")
    found: list[Any] = []
    if item.score is not None or item.comment:
        # MLflow wants a value; without a score there is only the comment
        value = item.score if item.score is not None else "comment"
        found.append(Feedback(name="user_score", value=value, source=source, rationale=item.comment))
    if item.correction is not None:
        found.append(Expectation(name="expected_answer", value=item.correction, source=source))
    return found


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 10**6) * 1000


def _experiment_id(uri: str, place: str | None) -> str:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        try:
            return str(client.create_experiment(EXPERIMENT, artifact_location=place))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(EXPERIMENT)
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _make_tables(file: Path) -> None:
    """Let MLflow make a fresh SQLite file; it appears complete or not at all, also beside a pipeline that makes it."""
    if file.exists():
        return
    from mlflow import MlflowClient

    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".mlflow-") as folder:
        fresh = Path(folder) / file.name
        MlflowClient(tracking_uri=f"{_SQLITE}{fresh}").get_experiment("0")
        with suppress(FileExistsError):
            os.link(fresh, file)


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Turn whatever MLflow raises into a SendError that says its kind: the text may hold addresses and content."""
    try:
        yield
    except Exception as error:
        status_of = getattr(error, "get_http_status_code", None)
        status = int(status_of()) if status_of is not None else None
        reason = type(error).__name__ if status is None else f"{type(error).__name__} {status}"
        message = f"MLflow cannot be used ({reason}). Check MLFLOW_TRACKING_URI"
        raise SendError(message, retry=status not in _REFUSED) from None
