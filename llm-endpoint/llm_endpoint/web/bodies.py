"""Answers and errors as the routes write them."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, TypeVar
from uuid import UUID

import orjson
from fastapi import Request
from fastapi.responses import Response
from pydantic import BaseModel, ValidationError

from llm_endpoint.answering import Answer
from llm_endpoint.engines.seam import EngineInfo
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


def answer_body(answer: Answer, info: EngineInfo) -> dict[str, Any]:
    """AnswerBody as a dictionary."""
    grounding, first = answer.grounding, answer.time_to_first_token_seconds
    return {
        "response": answer.response,
        "supported": bool(grounding and grounding.supported),
        "spans": [{"start": span.start, "end": span.end} for span in grounding.spans] if grounding else [],
        "trace_id": str(answer.trace_id),
        "model": info.model,
        "revision": info.revision,
        **adapter_fact(info),
        "usage": usage_body(answer),
        "finish_reason": answer.finish_reason,
        "latency_seconds": round(answer.latency_seconds, 4),
        "time_to_first_token_seconds": None if first is None else round(first, 4),
    }


def adapter_fact(info: EngineInfo) -> dict[str, str]:
    """Which adapter has answered; nothing where none has."""
    return {"adapter": info.adapter} if info.adapter else {}


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


async def event_response(request: Request, events: AsyncGenerator[bytes, None], trace_id: UUID) -> Response:
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

    return _EventStream(all_events(), {**EVENT_HEADERS, "x-trace-id": str(trace_id)})


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


def json_response(content: Any, status: int = 200) -> Response:
    """A JSON response by orjson."""
    return Response(orjson.dumps(content), status, media_type="application/json")
