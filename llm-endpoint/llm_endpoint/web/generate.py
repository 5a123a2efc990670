"""POST /generate: a question and its context, answered at once or as server-sent events."""

from collections.abc import AsyncGenerator, Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from llm_endpoint.answering import Answering, Caller, Question, Stream
from llm_endpoint.engines.seam import Sampling
from llm_endpoint.errors import InvalidInput
from llm_endpoint.sampling import choose_sampling
from llm_endpoint.schema import AnswerBody, GenerateRequest, Schema
from llm_endpoint.web.bodies import (
    answer_body,
    answer_headers,
    event,
    event_response,
    handover_body,
    json_response,
    parse_body,
)
from llm_endpoint.web.openapi import body_of, documented, streamed

BOTH_REQUIRED = "Both 'question' and 'context' are required"


class _Envelope(Schema):
    """Looked at first, because the two missing fields have their own words."""

    question: Any = None
    context: Any = None


def generate_router(find: Callable[[str], Answering]) -> APIRouter:
    """The route; `find` gives what answers under a name, or raises NotReady or NotFound."""
    router = APIRouter(tags=["QA"])

    @router.post(
        "/generate",
        summary="Answer a question from a context",
        openapi_extra=body_of(GenerateRequest),
        responses=streamed(AnswerBody) | documented(400, 401, 404, 413, 429, 500, 502, 503, 504),
    )
    async def generate(request: Request) -> Response:
        """The answer with its evidence: passages of the context by Unicode code points, or `supported: false`."""
        envelope = await parse_body(request, _Envelope)
        if not _filled(envelope.question) or not _filled(envelope.context):
            raise InvalidInput(BOTH_REQUIRED)
        body = await parse_body(request, GenerateRequest)
        answering = find(body.model)
        stream = answering.ask(
            Question(body.question, body.context),
            sampling_of(body, answering.defaults),
            Caller("generate", body.session_id, body.stream),
        )
        if body.stream:
            return await event_response(request, _events(stream), stream)
        answer = await answering.finish(stream)
        return json_response(answer_body(answer), headers=answer_headers(answer.answered_by))

    return router


async def _events(stream: Stream) -> AsyncGenerator[bytes, None]:
    async for piece in stream.pieces:
        yield event({"delta": piece} if isinstance(piece, str) else {"handover": handover_body(piece)})
    if stream.answer is not None:
        yield event(answer_body(stream.answer))


def sampling_of(body: GenerateRequest, defaults: Sampling) -> Sampling:
    """Sampling of a request in the endpoint's own names."""
    return choose_sampling(
        defaults,
        max_new_tokens=body.max_new_tokens,
        do_sample=body.do_sample,
        temperature=body.temperature,
        top_p=body.top_p,
        top_k=body.top_k,
        repetition_penalty=body.repetition_penalty,
        seed=body.seed,
    )


def _filled(value: Any) -> bool:
    """A value that says something; of another type than text, the schema explains it."""
    return bool(value.strip()) if isinstance(value, str) else value is not None
