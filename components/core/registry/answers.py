"""From one answer of the endpoint back to the model that gave it, and to what that was made from."""

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from components.core.errors import RegistryError
from components.core.registry.champion import lineage
from components.core.registry.mlflow_store import clear_errors, open_client, sqlite_file
from components.core.registry.names import LOCAL_SCHEME, place_of, public_name
from components.core.settings import Settings

_PREFIX = re.compile(r"^(tr|chatcmpl|cmpl)-")
"""MLflow's own, and those of the ids in the OpenAI protocol."""


@dataclass(frozen=True)
class TracedAnswer:
    """What the trace of an answer says."""

    trace_id: str
    asked: int
    """Milliseconds since 1970."""
    failed: bool
    protocol: str
    model: str
    revision: str
    engine: str
    content_sha256: str
    """Of the model folder that was served; empty for a model that is none, and in older traces."""
    adapter: str = ""
    """Name of the adapter that answered; empty where a model answered as it is."""


@dataclass(frozen=True)
class Why:
    """An answer and the registered version that gave it."""

    answer: TracedAnswer
    found_by: str
    """`content` or `place`: what of the trace named the version."""
    lineage: dict[str, Any]
    """As `lineage` says it."""


def explain_answer(trace_id: str, settings: Settings) -> Why:
    """Find the trace of an answer in MLflow, the version that gave the answer, and what it was made from.

    Args:
        trace_id: From the answer, in any of the protocols' forms.
        settings: The MLflow of traces and registry, and the namespace that asks.

    Raises:
        RegistryError: If there is no such trace, the model is not registered or restricted to another namespace, or
            MLflow cannot be asked.
    """
    answer = read_trace(trace_id, settings)
    with clear_errors(settings, f"look up the model of trace {answer.trace_id}"):
        found = _find(open_client(settings), answer)
    if found is None:
        raise RegistryError(
            f"trace {answer.trace_id} was answered by {public_name(answer.model)}, revision {answer.revision}, on "
            f"{answer.engine}: that model is not registered in {_where(settings)}. Serve a registered one to have its "
            "lineage, or set MLFLOW_TRACKING_URI or WHETSTONE_HOME to where it is registered."
        )
    version, found_by = found
    return Why(answer, found_by, lineage(version.name, str(version.version), settings))


def read_trace(trace_id: str, settings: Settings) -> TracedAnswer:
    """What MLflow knows of an answer.

    Raises:
        RegistryError: If this is no trace id, if MLflow has no such trace, or cannot be asked.
    """
    try:
        asked = UUID(_PREFIX.sub("", trace_id.strip()))
    except ValueError as error:
        raise RegistryError(
            f"{trace_id[:80]!r} is no trace id. It stands in the answer as `trace_id`, or in the header X-Trace-Id."
        ) from error
    file = sqlite_file(settings)
    if file is not None and not file.is_file():
        raise _unknown(asked, settings)
    from mlflow.exceptions import MlflowException

    with clear_errors(settings, f"look up trace {asked}"):
        client = open_client(settings)
        try:
            info = client.get_trace(f"tr-{asked.hex}").info
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"):
                raise
            raise _unknown(asked, settings) from error
    said = info.trace_metadata
    return TracedAnswer(
        trace_id=str(asked),
        asked=int(info.request_time),
        failed=info.state.value == "ERROR",
        protocol=said.get("protocol", ""),
        model=said.get("model", ""),
        revision=said.get("revision", ""),
        engine=said.get("engine", ""),
        content_sha256=said.get("content_sha256", ""),
        adapter=said.get("adapter", ""),
    )


def _unknown(trace_id: UUID, settings: Settings) -> RegistryError:
    return RegistryError(
        f"there is no trace {trace_id} in {_where(settings)}. The endpoint sends traces there, a second or two "
        "after the answer, when it runs with TRACE_TO_MLFLOW=true and the same MLFLOW_TRACKING_URI or WHETSTONE_HOME; "
        "with LANGSMITH_TRACING alone the trace is in LangSmith, under the same id."
    )


def _find(client: Any, answer: TracedAnswer) -> tuple[Any, str] | None:
    """The version by the content that was served, else by the name and revision under which it was."""
    if re.fullmatch(r"[0-9a-f]{64}", answer.content_sha256):
        same = client.search_model_versions(f"tags.content_sha256 = '{answer.content_sha256}'")
        if same:
            # the same content may be registered twice: the place tells, else the newest
            return max(same, key=lambda v: (_is_at(place_of(v), answer), int(v.version))), "content"
    if re.fullmatch(r"[A-Za-z0-9-]+", answer.model):
        versions = client.search_model_versions(f"name = '{answer.model}'")
        there = [version for version in versions if _is_at(place_of(version), answer)]
        if there:
            return max(there, key=lambda v: int(v.version)), "place"
    return None


def _is_at(place: str, answer: TracedAnswer) -> bool:
    """Whether a model folder is what was served: `name/3` of the local registry, or the commit of a repository."""
    if place.startswith(LOCAL_SCHEME):
        return place.removeprefix(LOCAL_SCHEME) == f"{answer.model}/{answer.revision}"
    return len(answer.revision) >= 7 and place.rpartition("@")[2].startswith(answer.revision)


def _where(settings: Settings) -> str:
    return public_name(settings.mlflow_tracking_uri) if settings.mlflow_tracking_uri else settings.tracking_uri
