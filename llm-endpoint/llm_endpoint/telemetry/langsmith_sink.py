"""Traces and feedback to LangSmith through its own client, without that client's queue, threads, retries and log."""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from llm_endpoint.errors import SettingsError
from llm_endpoint.settings import Settings
from llm_endpoint.telemetry.exporter import SendError
from llm_endpoint.telemetry.records import FeedbackItem, Item, RunRecord, TraceItem

_TIMEOUT_SECONDS = (3.0, 10.0)
"""To connect, and between two pieces of the answer."""
_FEEDBACK_KEY = "user_score"
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})


def check_address(settings: Settings) -> None:
    """Refuse an address that no request could reach.

    Raises:
        SettingsError: If it is not an http(s) address.
    """
    parts = urlsplit(settings.langsmith_endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(
            "environment: LANGSMITH_ENDPOINT is not an http(s) address. Set one such as https://api.smith.langchain.com."
        )


class LangSmithSink:
    """One project of a LangSmith server."""

    name = "langsmith"

    def __init__(self, settings: Settings, timeout_seconds: tuple[float, float] = _TIMEOUT_SECONDS) -> None:
        """Load the client; no call is made before the first item."""
        # on a broken connection it logs a good part of the API key; what went wrong is told by our own exporter
        logging.getLogger("langsmith").setLevel(logging.CRITICAL + 1)
        from langsmith import Client
        from langsmith.schemas import LangSmithInfo
        from langsmith.utils import LangSmithConflictError
        from urllib3.util import Retry

        key = settings.langsmith_api_key
        self._project = settings.langsmith_project
        self._project_id: Any = None
        self._conflict = LangSmithConflictError
        self._session = _make_session(timeout_seconds)
        self._client = Client(
            api_url=settings.langsmith_endpoint,
            # "" rather than None, which would look for a developer's login on this machine
            api_key=key.get_secret_value() if key else "",
            session=self._session,
            retry_config=Retry(total=0, redirect=False),
            auto_batch_tracing=False,
            tracing_mode="langsmith",
            omit_traced_runtime_info=True,  # it holds the LANGCHAIN_* variables of the environment
            info=LangSmithInfo(),
            disable_prompt_cache=True,
        )

    def send(self, items: Sequence[Item]) -> None:
        """Deliver a batch. Runs and feedbacks have ids, so that sending one again adds nothing.

        Raises:
            SendError: If the service cannot be reached, is busy, or refuses.
        """
        runs = [as_run(run, item, self._project) for item in items if isinstance(item, TraceItem) for run in item.runs]
        if runs:
            self._call(lambda: self._client.multipart_ingest(create=runs))
        for item in items:
            if isinstance(item, FeedbackItem):
                self._send_feedback(item)

    def _send_feedback(self, item: FeedbackItem) -> None:
        if self._project_id is None:
            self._project_id = self._call(lambda: self._client.read_project(project_name=self._project).id)
        self._call(
            lambda: self._client.create_feedback(
                trace_id=item.trace_id,
                key=_FEEDBACK_KEY,
                score=item.score,
                comment=item.comment,
                correction=None if item.correction is None else {"answer": item.correction},
                feedback_id=item.id,
                session_id=self._project_id,
                stop_after_attempt=1,
            )
        )

    def _call(self, call: Any) -> Any:
        """Make one call; the session says what went wrong, because the client only logs it or says it in prose."""
        self._session.failure = None
        try:
            result = call()
        except self._conflict:
            return None  # it is there already
        except Exception as error:
            # an exception without a failed request comes from an answer that makes no sense, or from a missing project
            failure = self._session.failure or SendError(f"LangSmith: {type(error).__name__}", retry=True)
            # without its context, whose text holds parts of the key
            raise failure from None
        if self._session.failure is not None:
            raise self._session.failure
        return result


def as_run(run: RunRecord, trace: TraceItem, project: str) -> dict[str, Any]:
    """A finished run in LangSmith's form."""
    metadata = trace.metadata | run.metadata
    if trace.session_id is not None:
        # LangSmith groups the traces of a conversation by it, and wants it on every run
        metadata["session_id"] = trace.session_id
    if run.usage is not None:
        metadata["usage_metadata"] = run.usage
    # LangSmith reads the time to the first token from it
    events = [{"name": "new_token", "time": run.first_token.isoformat()}] if run.first_token else None
    return {
        "id": run.id,
        "trace_id": trace.trace_id,
        "parent_run_id": run.parent_id,
        "dotted_order": run.dotted_order,
        "session_name": project,
        "name": run.name,
        "run_type": run.run_type,
        "start_time": run.start.isoformat(),
        "end_time": (run.end or run.start).isoformat(),
        "inputs": run.inputs,
        "outputs": run.outputs,
        "error": run.error,
        "tags": run.tags,
        "extra": {"metadata": metadata, "invocation_params": run.parameters},
        "events": events,
    }


def _make_session(timeout_seconds: tuple[float, float]) -> Any:
    """A requests session that makes each call once, within its time, and remembers why one failed."""
    import requests

    class OneTrySession(requests.Session):  # type: ignore[misc]
        failure: SendError | None = None

        def request(self, method: Any, url: Any, *args: Any, **options: Any) -> Any:
            # a redirect would carry the key to another host
            options |= {"timeout": timeout_seconds, "allow_redirects": False}
            try:
                response = super().request(method, url, *args, **options)
            except requests.RequestException as error:
                self.failure = SendError(f"LangSmith cannot be reached: {_reason(error)}", retry=True)
                raise self.failure from None
            # 404 of the multipart path makes the client try the older one; 409 says that the run is there already
            older_server = response.status_code == 404 and url.endswith("/runs/multipart")
            if response.status_code >= 300 and response.status_code != 409 and not older_server:
                self.failure = _refusal(response.status_code, response.headers)
                # not an HTTPError, for which the client would wait and try again by its own rules
                raise self.failure
            return response

    return OneTrySession()


def _reason(error: Exception) -> str:
    """The kind of error only: its text may hold addresses with passwords."""
    return type(error).__name__


def _refusal(status: int, headers: Mapping[str, str]) -> SendError:
    hints = {
        401: "Check LANGSMITH_API_KEY",
        403: "Check LANGSMITH_API_KEY and its workspace",
        404: "Check LANGSMITH_ENDPOINT",
    }
    hint = f". {hints[status]}" if status in hints else ""
    retry = status in _RETRIED
    return SendError(
        f"LangSmith answered {status}{hint}", retry=retry, retry_after=_seconds(headers.get("Retry-After"))
    )


def _seconds(value: str | None) -> float | None:
    """Seconds of a Retry-After header, which may also be a date."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
