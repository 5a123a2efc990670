"""Records the run tree of one request from LangChain's callbacks."""

from asyncio import CancelledError
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult
from langchain_core.prompt_values import PromptValue

from llm_endpoint.telemetry.records import RunRecord, TraceItem, measure

# of all that a model call is told, what cannot be a key or an address
_PARAMETERS = (
    *("model", "model_name", "max_tokens", "max_new_tokens", "do_sample", "temperature", "top_p", "top_k"),
    *("repetition_penalty", "seed", "stop"),
)
_DEEPEST = 32


class TraceRecorder(BaseCallbackHandler):
    """Callback handler of one request; the chain's root run must have the trace's id.

    Its methods are LangChain's: they note times and references and do nothing for a token but the first.
    """

    run_inline = True  # called in the event loop itself: a hop to a thread costs more than the work
    ignore_retry = True
    ignore_agent = True
    ignore_retriever = True
    ignore_custom_event = True

    def __init__(self, trace_id: UUID, session_id: str | None, metadata: Mapping[str, Any]) -> None:
        self.trace_id = trace_id
        self.session_id = session_id
        self.metadata = dict(metadata)
        self.started = datetime.now(UTC)
        self._runs: dict[UUID, RunRecord] = {}
        self._finished = False

    def finish(self, error: str | None, extra: Mapping[str, Any]) -> TraceItem:
        """The complete tree; runs that are still open end now, with the error. Later events are ignored.

        Args:
            error: Why the request failed, where LangChain did not see it.
            extra: Facts for the trace's metadata. prompt_tokens, completion_tokens and cached_tokens become the usage
                of the model's run, time_to_first_token_seconds its first token where LangChain saw none.
        """
        self._finished = True
        now = datetime.now(UTC)
        root = self._root(now)
        for run in self._runs.values():
            if run.end is None:
                run.end = now
                run.error = run.error or error
        root.error = root.error or error
        self._add_facts(root, extra)
        # a parent starts before its children; the root may have been made last
        runs = [root, *(run for run in self._runs.values() if run is not root)]
        item = TraceItem(self.trace_id, runs, self.metadata, self.session_id)
        item.size = measure(item)
        return item

    def _root(self, now: datetime) -> RunRecord:
        """The run with the trace's id; made where no chain ran, or where a model was called without the id."""
        root = self._runs.get(self.trace_id)
        if root is None:
            root = RunRecord(self.trace_id, None, "request", "chain", self.started, {}, now)
            root.error = next((run.error for run in self._runs.values() if run.error), None)
            for run in self._runs.values():
                if run.parent_id not in self._runs:
                    run.parent_id = root.id
            self._runs[root.id] = root
        return root

    def _add_facts(self, root: RunRecord, extra: Mapping[str, Any]) -> None:
        facts = {name: _plain(value) for name, value in extra.items() if value is not None}
        root.metadata |= facts
        model = next((run for run in self._runs.values() if run.run_type == "llm"), root)
        asked, answered = facts.get("prompt_tokens"), facts.get("completion_tokens")
        if asked is not None and answered is not None:
            model.usage = {"input_tokens": asked, "output_tokens": answered, "total_tokens": asked + answered}
            if facts.get("cached_tokens"):
                model.usage["input_token_details"] = {"cache_read": facts["cached_tokens"]}
        if model.first_token is None and facts.get("time_to_first_token_seconds") is not None:
            model.first_token = self.started + timedelta(seconds=facts["time_to_first_token_seconds"])

    def _begin(
        self,
        run_id: UUID,
        run_type: str,
        inputs: Any,
        parent_run_id: UUID | None,
        serialized: Mapping[str, Any] | None,
        details: Mapping[str, Any],
    ) -> None:
        if self._finished:
            return
        # of the serialized object its class only: the rest could hold keys
        class_name = str(((serialized or {}).get("id") or [run_type])[-1])
        self._runs[run_id] = RunRecord(
            run_id,
            parent_run_id if parent_run_id in self._runs else None,
            details.get("name") or class_name,
            run_type,
            datetime.now(UTC),
            inputs,
            tags=list(details.get("tags") or ()),
            metadata=_plain(details.get("metadata") or {}),
        )

    def _end(self, run_id: UUID, outputs: Any = None, error: BaseException | None = None, inputs: Any = None) -> None:
        run = self._runs.get(run_id)
        if run is None or self._finished:
            return
        run.end = datetime.now(UTC)
        if outputs is not None:
            run.outputs = outputs
        if inputs is not None:
            run.inputs = inputs
        if error is not None:
            # a client that leaves cancels the chain, which says nothing to a reader
            kind = "cancelled" if isinstance(error, (GeneratorExit, CancelledError)) else type(error).__name__
            run.error = f"{kind}: {error}" if str(error) else kind

    def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        run_type: str | None = None,
        **details: Any,
    ) -> None:
        """A chain, prompt or parser starts; a streaming chain tells its inputs when it ends."""
        self._begin(run_id, run_type or "chain", _as_dict(inputs, "input"), parent_run_id, serialized, details)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, inputs: Any = None, **details: Any) -> None:
        """It is done."""
        self._end(run_id, _as_dict(outputs, "output"), None, _later_inputs(inputs))

    def on_chain_error(self, error: BaseException, *, run_id: UUID, inputs: Any = None, **details: Any) -> None:
        """It failed, or was cancelled."""
        self._end(run_id, None, error, _later_inputs(inputs))

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **details: Any,
    ) -> None:
        """A chat model is called; there is one list of messages for each answer."""
        asked = [_plain(message) for batch in messages for message in batch]
        self._begin(run_id, "llm", {"messages": asked}, parent_run_id, serialized, details)
        self._add_parameters(run_id, details)

    def on_llm_start(
        self,
        serialized: dict[str, Any],
        prompts: list[str],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **details: Any,
    ) -> None:
        """A text model is called."""
        self._begin(run_id, "llm", {"prompts": list(prompts)}, parent_run_id, serialized, details)
        self._add_parameters(run_id, details)

    def on_llm_new_token(self, token: Any, *, run_id: UUID, **details: Any) -> None:
        """Only the time of the first one is of interest."""
        run = self._runs.get(run_id)
        if run is not None and run.first_token is None and not self._finished:
            run.first_token = datetime.now(UTC)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **details: Any) -> None:
        """The model is done."""
        self._add_response(run_id, response)
        self._end(run_id)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **details: Any) -> None:
        """The model failed; what it had answered until then is kept."""
        response = details.get("response")
        if isinstance(response, LLMResult):
            self._add_response(run_id, response)
        self._end(run_id, error=error)

    def _add_parameters(self, run_id: UUID, details: Mapping[str, Any]) -> None:
        given = details.get("invocation_params") or {}
        run = self._runs.get(run_id)
        if run is not None:
            run.parameters = {name: _plain(given[name]) for name in _PARAMETERS if given.get(name) is not None}

    def _add_response(self, run_id: UUID, response: LLMResult) -> None:
        run = self._runs.get(run_id)
        generations = [generation for batch in response.generations for generation in batch]
        if run is None or self._finished or not generations:
            return
        messages = [getattr(generation, "message", None) for generation in generations]
        if isinstance(messages[0], BaseMessage):
            run.outputs = {"messages": [_plain(message) for message in messages]}
            run.usage = _plain(getattr(messages[0], "usage_metadata", None))
        else:
            run.outputs = {"texts": [generation.text for generation in generations]}


def _later_inputs(inputs: Any) -> Any:
    return None if inputs is None else _as_dict(inputs, "input")


def _as_dict(value: Any, name: str) -> dict[str, Any]:
    plain = _plain(value)
    return plain if isinstance(plain, dict) else {name: plain}


def _plain(value: Any, depth: int = 0) -> Any:
    """Text, numbers, lists and dicts only; of any other object its type, because its text could be anything."""
    if isinstance(value, (str, int, float)) or value is None:
        return value
    if depth >= _DEEPEST:
        return "[too deep]"
    if isinstance(value, BaseMessage):
        roles = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant"}
        return {"role": roles.get(value.type, value.type), "content": _plain(value.content, depth + 1)}
    if isinstance(value, PromptValue):
        return {"messages": [_plain(message, depth + 1) for message in value.to_messages()]}
    if isinstance(value, Mapping):
        return {str(name): _plain(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, (Sequence, set, frozenset)) and not isinstance(value, (bytes, bytearray)):
        return [_plain(inner, depth + 1) for inner in value]
    return str(value) if isinstance(value, (UUID, datetime)) else f"[{type(value).__name__}]"
