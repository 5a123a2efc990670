"""What is recorded of a request."""

import asyncio
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable
from langchain_core.utils.uuid import uuid7
from llm_endpoint.telemetry.recorder import TraceRecorder
from llm_endpoint.telemetry.records import RunRecord, TraceItem

ASKED = {"context": "The sky is blue.", "question": "Which colour?"}


def chain(model: Any) -> Runnable[Any, str]:
    return ChatPromptTemplate.from_messages([("user", "{context}\n{question}")]) | model | StrOutputParser()


def model(answer: str = "It is blue.") -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter([AIMessage(answer)]))


class FailingModel(GenericFakeChatModel):
    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("the engine broke")

    def _stream(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("the engine broke")


def recorder() -> TraceRecorder:
    return TraceRecorder(uuid7(), "talk-1", {"revision": "abc"})


def config(trace: TraceRecorder) -> Any:
    return {"run_id": trace.trace_id, "callbacks": [trace]}


def by_type(item: TraceItem) -> dict[str, RunRecord]:
    return {run.run_type: run for run in item.runs}


async def stream(runnable: Runnable[Any, Any], trace: TraceRecorder, pieces: int | None = None) -> None:
    answer = runnable.astream(ASKED, config(trace))
    count = 0
    async for _ in answer:
        count += 1
        if count == pieces:
            break
    await answer.aclose()


def assert_complete(item: TraceItem) -> None:
    """One root with the trace's id, known parents before their children, and times within the parent's."""
    assert item.runs[0].id == item.trace_id
    seen: dict[Any, RunRecord] = {}
    for run in item.runs:
        assert (run.parent_id is None) == (run is item.runs[0])
        assert run.end is not None
        assert run.start <= run.end
        if run.parent_id:
            assert seen[run.parent_id].start <= run.start
        seen[run.id] = run


@pytest.mark.parametrize("way", ["astream", "ainvoke", "invoke"])
def test_a_chain_leaves_its_whole_tree(way: str):
    trace = recorder()
    if way == "invoke":
        chain(model()).invoke(ASKED, config(trace))
    else:
        asyncio.run(stream(chain(model()), trace) if way == "astream" else chain(model()).ainvoke(ASKED, config(trace)))
    item = trace.finish(None, {"prompt_tokens": 7, "completion_tokens": 3, "cached_tokens": 5, "finish_reason": "stop"})
    assert_complete(item)
    assert [run.run_type for run in item.runs] == ["chain", "prompt", "llm", "parser"]
    runs = by_type(item)
    assert runs["chain"].inputs == ASKED
    assert runs["chain"].outputs == {"output": "It is blue."}
    assert runs["chain"].metadata["finish_reason"] == "stop"
    asked = {"messages": [{"role": "user", "content": "The sky is blue.\nWhich colour?"}]}
    assert runs["prompt"].outputs == asked
    assert runs["llm"].inputs == asked
    assert runs["llm"].outputs == {"messages": [{"role": "assistant", "content": "It is blue."}]}
    assert runs["llm"].usage == {
        "input_tokens": 7,
        "output_tokens": 3,
        "total_tokens": 10,
        "input_token_details": {"cache_read": 5},
    }
    assert (runs["llm"].first_token is not None) == (way == "astream")
    assert not any(run.error for run in item.runs)
    assert item.size > 4 * 1000


def test_a_failure_stands_in_every_run_that_it_ended():
    trace = recorder()
    with pytest.raises(RuntimeError, match="broke"):
        asyncio.run(stream(chain(FailingModel(messages=iter([]))), trace))
    item = trace.finish("GenerationError: the engine failed", {})
    assert_complete(item)
    runs = by_type(item)
    assert runs["llm"].error == runs["chain"].error == "RuntimeError: the engine broke"
    assert runs["prompt"].error is None


def test_a_client_that_leaves_ends_the_tree():
    trace = recorder()
    asyncio.run(stream(chain(model("It is blue and wide.")), trace, pieces=2))
    item = trace.finish("cancelled: the client left", {})
    assert_complete(item)
    assert by_type(item)["chain"].error
    assert by_type(item)["chain"].inputs == ASKED


def test_runs_that_are_still_open_end_with_the_request():
    trace = recorder()
    trace.on_chain_start({}, ASKED, run_id=trace.trace_id)
    trace.on_chat_model_start({}, [[AIMessage("hm")]], run_id=uuid7(), parent_run_id=trace.trace_id)
    item = trace.finish("RequestTimeout: too long", {})
    assert_complete(item)
    assert {run.error for run in item.runs} == {"RequestTimeout: too long"}


def test_a_model_alone_is_a_trace_too():
    trace = recorder()
    model().invoke("hello", config(trace))
    item = trace.finish(None, {})
    assert_complete(item)
    assert [run.run_type for run in item.runs] == ["llm"]


def test_a_model_without_the_traces_id_gets_a_root():
    trace = recorder()
    model().invoke("hello", {"callbacks": [trace]})
    item = trace.finish(None, {"time_to_first_token_seconds": 0.25})
    assert_complete(item)
    assert [(run.name, run.run_type) for run in item.runs] == [("request", "chain"), ("GenericFakeChatModel", "llm")]
    assert (item.runs[1].first_token - trace.started).total_seconds() == 0.25


def test_a_request_without_any_run_still_has_its_error():
    item = recorder().finish("InvalidInput: no question", {})
    assert_complete(item)
    assert [(run.name, run.error) for run in item.runs] == [("request", "InvalidInput: no question")]


def test_events_after_the_end_change_nothing():
    trace = recorder()
    trace.on_chain_start({}, ASKED, run_id=trace.trace_id)
    item = trace.finish(None, {})
    trace.on_chain_end({"output": "late"}, run_id=trace.trace_id)
    trace.on_chain_start({}, {}, run_id=uuid7())
    assert (len(item.runs), item.runs[0].outputs) == (1, None)


def test_objects_are_recorded_by_their_type_only():
    trace = recorder()

    class Client:
        def __str__(self) -> str:
            return "key=canary"

    trace.on_chain_start({"kwargs": {"key": "canary"}}, {"client": Client(), "deep": [{"c": Client()}]}, run_id=uuid7())
    assert trace.finish(None, {}).runs[1].inputs == {"client": "[Client]", "deep": [{"c": "[Client]"}]}
