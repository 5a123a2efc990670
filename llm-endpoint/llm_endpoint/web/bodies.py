"""Answers and errors as the routes write them."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

import orjson
from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel, ValidationError

from llm_endpoint.answer import Answer, Stream, say_sources
from llm_endpoint.engines.seam import EngineInfo, Handover
from llm_endpoint.errors import EndpointError, InvalidInput
from llm_endpoint.web.guards import error_body, error_response

Body = TypeVar("Body", bound=BaseModel)

EVENT_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


async def parse_body(request: Request, schema: type[Body]) -> Body:
    """Read a JSON body.

    Raises:
        InvalidInput: Naming the fields that are missing or wrong.
    """
    try:
        content = orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise InvalidInput("the body is not JSON. Send a JSON object with content-type application/json.") from error
    if not isinstance(content, dict):
        raise InvalidInput("the body is not a JSON object.")
    return validate(content, schema)


def validate(content: Any, schema: type[Body]) -> Body:
    """Check a JSON value against a schema."""
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        raise InvalidInput(say_problems(problems)) from error


def say_problems(problems: Sequence[Any]) -> str:
    """What pydantic found, in a few words each, without the values."""
    said = [f"{'.'.join(str(part) for part in p['loc']) or 'body'}: {p['msg']}" for p in problems[:5]]
    return "; ".join(said) + "."


def answer_body(answer: Answer) -> dict[str, Any]:
    """AnswerBody as a dictionary."""
    grounding, first = answer.grounding, answer.time_to_first_token_seconds
    return {
        "response": answer.response,
        "supported": bool(grounding and grounding.supported),
        "spans": [{"start": span.start, "end": span.end} for span in grounding.spans] if grounding else [],
        "trace_id": str(answer.trace_id),
        **model_facts(answer),
        "usage": usage_body(answer),
        "finish_reason": answer.finish_reason,
        "latency_seconds": round(answer.latency_seconds, 4),
        "time_to_first_token_seconds": None if first is None else round(first, 4),
    }


def model_facts(answer: Answer) -> dict[str, Any]:
    """Who has answered."""
    info = answer.info
    facts = {"model": info.model, "revision": info.revision, "answered_by": answer.sources}
    more = {"adapter": info.adapter, "fallback": answer.fallback}
    return facts | {name: value for name, value in more.items() if value}


def answer_headers(answered_by: Sequence[EngineInfo]) -> dict[str, str]:
    """X-Answered-By: service, local, or both for an answer that was continued."""
    return {"x-answered-by": say_sources(tuple(answered_by))}


def usage_body(answer: Answer) -> dict[str, int]:
    """UsageBody as a dictionary."""
    usage = answer.usage
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cached_tokens": usage.cached_tokens,
    }


def event(content: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + orjson.dumps(content) + b"\n\n"


async def event_response(request: Request, events: AsyncGenerator[bytes, None], stream: Stream) -> Response:
    """Stream events; what fails before the first one is still an error with its own status."""
    first = await anext(events, b"")

    async def all_events() -> AsyncGenerator[bytes, None]:
        yield first
        try:
            async for item in events:
                yield item
        except EndpointError as error:
            # the status has gone out; the last event says what happened
            yield event(error_body(error, request.url.path))

    headers = EVENT_HEADERS | {"x-trace-id": str(stream.trace_id)} | answer_headers(stream.who())
    return _EventStream(all_events(), headers)


class _EventStream(Response):
    """Events as they come. Unlike Starlette's own it does not look out for callers that leave: the guards do."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes, None], headers: dict[str, str]) -> None:
        self._events = events
        self.status_code, self.background = 200, None
        self.init_headers(headers)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with aclosing(self._events) as events:
            async for item in events:
                await send({"type": "http.response.body", "body": item, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def handle_endpoint_error(request: Request, error: Exception) -> Response:
    """FastAPI's handler for EndpointError."""
    assert isinstance(error, EndpointError)
    body, headers = error_response(error, request.url.path)
    del headers["content-length"]
    return Response(body, error.status, headers)


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON response by orjson."""
    return Response(orjson.dumps(content), status, headers, media_type="application/json")


def handover_body(handover: Handover) -> dict[str, str]:
    """What a stream says where another model goes on."""
    return {"continued_by": handover.source, "reason": handover.reason}
